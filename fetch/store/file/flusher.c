/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fetch/store/file/flusher.h"
#include <glib.h>

/* Concurrent flushes of one store would each block a thread of the disk pool: no flush is scheduled
 * while one runs, however long the disk takes. */
enum { IDLE, SET, BUSY, AGAIN, ENDED };

struct flusher {
	struct store *store;
	struct pool *disk;
	struct alarm_clock *clock;
	struct alarm alarm;
	struct pool_job job;
	/* atomic: IDLE; SET: the alarm is set, or the job queued; BUSY: the job runs; AGAIN: it
	 * runs, and a write came since it began; ENDED */
	int state;
};

static bool move(struct flusher *f, int from, int to)
{
	return __atomic_compare_exchange_n(&f->state, &from, to, false, __ATOMIC_SEQ_CST,
	                                   __ATOMIC_SEQ_CST);
}

static void set(struct flusher *f)
{
	alarm_set(f->clock, &f->alarm, clock_now() + FLUSH_SECONDS * INT64_C(1000000000));
}

static void flusher_run(struct pool_job *job)
{
	struct flusher *f = (struct flusher *)((char *)job - offsetof(struct flusher, job));
	move(f, SET, BUSY); /* a write from here on sets the next flush */
	int err = store_flush(f->store);
	if (err)
		g_warning("background flush failed: %s", g_strerror(-err));
	if (!move(f, BUSY, IDLE) && move(f, AGAIN, SET))
		set(f);
}

static void flusher_ring(struct alarm *alarm)
{
	struct flusher *f = (struct flusher *)((char *)alarm - offsetof(struct flusher, alarm));
	if (__atomic_load_n(&f->state, __ATOMIC_SEQ_CST) != ENDED)
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
	if (!move(f, BUSY, AGAIN) && move(f, IDLE, SET))
		set(f);
}

void flusher_stop(struct flusher *f)
{
	__atomic_store_n(&f->state, ENDED, __ATOMIC_SEQ_CST);
	alarm_stop(f->clock, &f->alarm);
}

void flusher_free(struct flusher *f)
{
	alarm_stop(f->clock, &f->alarm); /* a wake during flusher_stop() may have set it */
	g_free(f);
}
