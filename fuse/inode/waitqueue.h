/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Where a request waits that wants neither bytes nor a listing: until somebody calls (claim.h: a
 * file is free again), or until it is time to try once more (a descriptor that was short). Each has
 * its end.
 * Locking: its own mutex, under which nothing is called; any thread
 * Units:   ns of CLOCK_MONOTONIC
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include "fetch/base/pool.h"

struct waitqueue_entry {  /* embedded in the caller's object, which lives until `done` */
	const void *what; /* whose call it waits for; NULL: nobody's */
	int64_t again_ns; /* goes on then; 0: only when called */
	int64_t until_ns; /* fails then, with `error`: positive */
	int error;
	/* Once, with no lock held: 0, or the error. On the clock's thread, or the caller's. */
	void (*done)(struct waitqueue_entry *w, int error);
	GList link; /* private */
	bool waits; /* private; under the wait queue's lock: nobody is about to tell it */
};

struct waitqueue;
struct waitqueue *waitqueue_new(struct alarm_clock *clock);
/* 0: it waits. -EIO: the wait queue is closed; -`error`: its time is up already. */
int waitqueue_enter(struct waitqueue *r, struct waitqueue_entry *w);
/* true: it waits no more, and nobody will say so. */
bool waitqueue_leave(struct waitqueue *r, struct waitqueue_entry *w);
void waitqueue_call(struct waitqueue *r, const void *what);
void waitqueue_close(struct waitqueue *r); /* whoever waits fails, and nobody waits any more */
void waitqueue_free(struct waitqueue *r);  /* after waitqueue_close() */
