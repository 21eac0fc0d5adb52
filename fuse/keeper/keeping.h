/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The worker's end of the keeper (keeper.h): what a worker gets from the one before it, and hands
 * over for the next.
 * Owns:    nothing; descriptors belong to the keeper, and this process has them by inheritance
 * Locking: any thread
 */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

struct area;

#define KEPT_HANDLERS 32
#define KEEPING_YIELD SIGUSR1 /* from the keeper: another program's worker takes over */

enum kept {
	KEPT_DEVICE,   /* /dev/fuse, mounted */
	KEPT_SECOND,   /* a second one, cloned: the notifier's */
	KEPT_LOCK,     /* the store's */
	KEPT_LISTENER, /* the control socket's */
	KEPT_HANDLER,  /* connections of handlers, from here on */
	KEPT_MAX = KEPT_HANDLER + KEPT_HANDLERS,
};

struct keeping {
	struct area *area;
	int area_fd; /* -1: it lies in anonymous memory */
	int socket;  /* to the keeper; -1: there is none */
	/* Without a keeper: tells the service manager a line; NULL: the keeper does. */
	void (*tell)(const void *manager, const char *text);
	const void *manager;
	int fds[KEPT_MAX]; /* -1: not handed over yet */
	pid_t keeper;      /* or this process */
	int guard;    /* /dev/fuse, the guard's: becomes one of the mount's (guard.h); -1: none */
	bool resumes; /* a worker before this one was serving */
	bool asked;   /* it was ended, so that this one, another program's, takes over */
};

/* The keeper keeps a copy of `fd` (-1: nothing) for the next worker. */
void keeping_hand(const struct keeping *k, enum kept what, int fd);
/* It closes its copy. */
void keeping_drop(const struct keeping *k, enum kept what);
/* The mount is served from here on, by this worker or, where area.resends, the next. */
void keeping_serve(const struct keeping *k);
/* This worker, which took over, has started all that it consists of. */
void keeping_settled(const struct keeping *k);
/* The mount ends: there will be no next worker, and the keeper closes the device. */
void keeping_leave(const struct keeping *k);

/* Before a worker touches anything: it is the only one from here on. Waits for the end of one whose
 * keeper was killed. 0; -EBUSY: that one does not end; -errno. */
int keeping_claim(const struct keeping *k);
/* The client, whose connection this is, asks for an upgrade to its own program (upgrade.h): the
 * keeper answers it. false: no other worker can take over. */
bool keeping_upgrade(const struct keeping *k, int client);
/* A worker of another program, before its server: until the one before has ended. false: it is not
 * needed. */
bool keeping_stand_by(struct keeping *k);
