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
#include "fetch/pool.h"

struct room_wait {        /* embedded in the caller's object, which lives until `done` */
	const void *what; /* whose call it waits for; NULL: nobody's */
	int64_t again_ns; /* goes on then; 0: only when called */
	int64_t until_ns; /* fails then, with `error`: positive */
	int error;
	/* Once, with no lock held: 0, or the error. On the clock's thread, or the caller's. */
	void (*done)(struct room_wait *w, int error);
	GList link; /* private */
	bool waits; /* private; under the room's lock: nobody is about to tell it */
};

struct room;
struct room *room_new(struct alarm_clock *clock);
/* 0: it waits. -EIO: the room is closed; -`error`: its time is up already. */
int room_enter(struct room *r, struct room_wait *w);
/* true: it waits no more, and nobody will say so. */
bool room_leave(struct room *r, struct room_wait *w);
void room_call(struct room *r, const void *what);
void room_close(struct room *r); /* whoever waits fails, and nobody waits any more */
void room_free(struct room *r);  /* after room_close() */
