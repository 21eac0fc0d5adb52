/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/inode/trim.h"
#include <glib.h>
#include <malloc.h>

/* More inodes are on their way. */
#define DELAY_NS (INT64_C(2) * 1000000000)

struct trim {
	struct alarm_clock *clock;
	struct pool *pool;
	struct alarm alarm;
	struct pool_job job;
	uint64_t forgotten; /* atomic, as `set`: since the last one */
	bool set;           /* the alarm is set, or the job under way */
};

static void trim_run(struct pool_job *job)
{
	struct trim *t = (struct trim *)((char *)job - offsetof(struct trim, job));
	__atomic_store_n(&t->forgotten, 0, __ATOMIC_RELAXED);
	malloc_trim(0);
	__atomic_store_n(&t->set, false, __ATOMIC_RELEASE);
}

static void trim_ring(struct alarm *a)
{
	struct trim *t = (struct trim *)((char *)a - offsetof(struct trim, alarm));
	pool_submit(t->pool, &t->job);
}

struct trim *trim_new(struct alarm_clock *clock, struct pool *pool)
{
	struct trim *t = g_new0(struct trim, 1);
	t->clock = clock;
	t->pool = pool;
	t->alarm.ring = trim_ring;
	t->job.run = trim_run;
	return t;
}

void trim_forgot(struct trim *t, size_t inodes)
{
	if (__atomic_add_fetch(&t->forgotten, inodes, __ATOMIC_RELAXED) >= TRIM_EACH &&
	    !__atomic_load_n(&t->set, __ATOMIC_RELAXED) &&
	    !__atomic_exchange_n(&t->set, true, __ATOMIC_ACQUIRE))
		alarm_set(t->clock, &t->alarm, clock_now() + DELAY_NS);
}

void trim_stop(struct trim *t)
{
	alarm_stop(t->clock, &t->alarm);
}

void trim_free(struct trim *t)
{
	g_free(t);
}
