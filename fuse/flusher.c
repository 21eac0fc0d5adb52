/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/flusher.h"
#include <glib.h>

struct flusher {
	struct store *store;
	struct pool *disk;
	struct alarm_clock *clock;
	struct alarm alarm;
	struct pool_job job;
	int set; /* atomic: the alarm is, or the job is queued */
};

static void flusher_run(struct pool_job *job)
{
	struct flusher *f = (struct flusher *)((char *)job - offsetof(struct flusher, job));
	__atomic_store_n(&f->set, 0,
	                 __ATOMIC_SEQ_CST); /* what is written from here on comes next */
	int err = store_flush(f->store);
	if (err)
		g_warning("what was written could not be made durable: %s", g_strerror(-err));
}

static void flusher_ring(struct alarm *alarm)
{
	struct flusher *f = (struct flusher *)((char *)alarm - offsetof(struct flusher, alarm));
	pool_submit(f->disk, &f->job);
}

struct flusher *flusher_new(struct store *store, struct pool *disk, struct alarm_clock *clock)
{
	struct flusher *f = g_new0(struct flusher, 1);
	f->store = store;
	f->disk = disk;
	f->clock = clock;
	f->alarm.ring = flusher_ring;
	f->job.run = flusher_run;
	return f;
}

void flusher_wake(struct flusher *f)
{
	if (!__atomic_exchange_n(&f->set, 1, __ATOMIC_SEQ_CST))
		alarm_set(f->clock, &f->alarm, clock_now() + FLUSH_SECONDS * INT64_C(1000000000));
}

void flusher_stop(struct flusher *f)
{
	__atomic_store_n(&f->set, 1, __ATOMIC_SEQ_CST);
	alarm_stop(f->clock, &f->alarm);
}

void flusher_free(struct flusher *f)
{
	g_free(f);
}
