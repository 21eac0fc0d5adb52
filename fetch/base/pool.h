/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Threads for calls that may block on the local disk, and a clock that calls back.
 * Locking: every function from any thread; jobs and alarms run with no lock held
 * Units:   ns of CLOCK_MONOTONIC
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

int64_t clock_now(void);      /* CLOCK_MONOTONIC */
int64_t clock_realtime(void); /* CLOCK_REALTIME */

struct pool;
struct pool_job { /* embedded in the caller's object, which lives until `run` starts */
	void (*run)(struct pool_job *job);
	struct pool_job *next; /* private */
};
struct pool *pool_new(const char *name, unsigned threads);
void pool_submit(struct pool *p, struct pool_job *job); /* first in, first out */
void pool_free(struct pool *p);                         /* runs queued jobs, then joins */

struct alarm_clock;
struct alarm {                         /* embedded; zeroed before first use */
	void (*ring)(struct alarm *a); /* on the clock's thread: short, never blocks */
	int64_t at_ns;                 /* private: 0 = not set */
	void *link;                    /* private */
};
struct alarm_clock *alarm_clock_new(void);
void alarm_set(struct alarm_clock *c, struct alarm *a, int64_t at_ns);
/* Cancels, and waits for a running ring() to end: `a` may be freed then. Not from a
 * ring(), and without a lock that a ring() takes. false: it was not set. */
bool alarm_stop(struct alarm_clock *c, struct alarm *a);
void alarm_clock_free(struct alarm_clock *c); /* pending alarms never ring */
