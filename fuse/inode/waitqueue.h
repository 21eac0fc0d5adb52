/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The queue of requests that wait neither for data nor for a listing: until waitqueue_call()
 * (claim.h: a file is free again), or until the next try (descriptors were short). Each wait has a
 * deadline.
 * Locking: its own mutex, never held across a call; any thread
 * Units:   ns of CLOCK_MONOTONIC
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include "fetch/base/pool.h"

struct waitqueue_entry {  /* embedded in the caller's object, which lives until `done` */
	const void *what; /* key of waitqueue_call(); NULL: none */
	int64_t again_ns; /* resumes then; 0: only when called */
	int64_t until_ns; /* fails then, with `error`: positive */
	int error;
	/* Once, with no lock held: 0, or the error. On the clock's thread, or the caller's. */
	void (*done)(struct waitqueue_entry *w, int error);
	GList link; /* private */
	bool waits; /* private; under the wait queue's lock: done() is not about to be called */
};

struct waitqueue;
struct waitqueue *waitqueue_new(struct alarm_clock *clock);
/* 0: `w` waits. -EIO: the wait queue is closed; -`error`: its deadline has passed. */
int waitqueue_enter(struct waitqueue *r, struct waitqueue_entry *w);
/* true: `w` waits no more, and done() will not be called. */
bool waitqueue_leave(struct waitqueue *r, struct waitqueue_entry *w);
void waitqueue_call(struct waitqueue *r, const void *what);
void waitqueue_close(struct waitqueue *r); /* all waits fail, and later ones, too */
void waitqueue_free(struct waitqueue *r);  /* after waitqueue_close() */
