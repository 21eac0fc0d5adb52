/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by keeper.c (one worker after the other) and worker.c (one worker's life). */
#pragma once
#include "fuse/keeper/fdstore.h"
#include "fuse/keeper/guard.h"
#include "fuse/keeper/keeper.h"
#include "fuse/keeper/upgrade.h"

struct keeper {
	const struct keeper_job *job;
	struct keeping keeping;
	struct guard guard;
	int signals, socket; /* the keeper's end; -1: the worker is dead */
	pid_t worker;        /* 0: none */
	int stop;            /* a signal to be passed on to each worker; 0: none */
	bool served;         /* this worker took over, or mounted */
	bool settled;        /* and has started all that it consists of */
	bool late;           /* it was killed, since it did not, in time */
	int64_t served_ns;   /* CLOCK_MONOTONIC; of WORD_SERVE, as the next of WORD_SETTLED */
	int64_t settled_ns;
	unsigned failed; /* starts in a row */
	unsigned quick;  /* deaths in a row */
	struct upgrade upgrade;
	struct fdstore store;
	bool ready; /* the service manager was told */
};

int64_t keeper_now(void); /* CLOCK_MONOTONIC */
/* `fd` in the place of the one that was kept; -1: none. */
void keeper_keep(struct keeper *k, uint32_t what, int fd);
void keeper_drop(struct keeper *k);
void keeper_signal(struct keeper *k);
bool worker_start(struct keeper *k);
/* Until the worker is dead. A takeover has a deadline. */
void worker_watch(struct keeper *k);
/* Its status, or -1 if a thread of the notifier is still stuck in the kernel: reaped later. `tries`
 * of a millisecond. */
int worker_reap(struct keeper *k, unsigned tries);
