/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/doubt.h"
#include <glib.h>
#include <stdbool.h>
#include "fetch/base/lock.h"
#include "fetch/base/pool.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/notify.h"
#include "fuse/inode/server.h"

#define BATCH 256

/* An inode that the kernel does not seem to know. */
struct suspect {
	uint64_t id, nlookup;
	int64_t at_ns; /* when it is asked again */
};

struct doubts {
	struct server *server;
	struct mutex lock;
	GQueue *suspects; /* of struct suspect, owned, by at_ns; under lock */
	struct alarm alarm;
	struct pool_job begin, again; /* each is queued once at a time */
	bool queued, stopped;         /* `again` is; under lock */
};

static void alarm_set_locked(struct doubts *d) REQUIRES(d->lock)
{
	const struct suspect *first = g_queue_peek_head(d->suspects);
	if (first && !d->queued && !d->stopped)
		alarm_set(d->server->clock, &d->alarm, first->at_ns);
}

void doubts_add(struct doubts *d, uint64_t nodeid, uint64_t nlookup)
{
	struct suspect *one = g_new(struct suspect, 1);
	*one = (struct suspect){nodeid, nlookup, clock_now() + DOUBT_NS};
	mutex_lock(&d->lock);
	g_queue_push_tail(d->suspects, one);
	if (d->suspects->length == 1)
		alarm_set_locked(d);
	mutex_unlock(&d->lock);
}

/* The attributes go, and a directory's copy in the kernel. false: the kernel does not know it. */
static bool ask(struct server *s, const struct inode_known *known)
{
	return notifier_ask(s->notifier, known->id, known->directory) || known->id == FUSE_ROOT_ID;
}

static void begin_run(struct pool_job *job)
{
	struct doubts *d = (struct doubts *)((char *)job - offsetof(struct doubts, begin));
	struct server *s = d->server;
	uint32_t next = 0, count;
	do {
		struct inode_known known[BATCH];
		count = inode_table_known(s->inodes, &next, known, BATCH);
		for (uint32_t n = 0; n < count; n++)
			if (!ask(s, &known[n]))
				doubts_add(d, known[n].id, known[n].nlookup);
	} while (count == BATCH);
}

/* The next one that is due; NULL: none. */
static struct suspect *due(struct doubts *d)
{
	mutex_lock(&d->lock);
	struct suspect *one = g_queue_peek_head(d->suspects);
	if (!one || d->stopped || one->at_ns > clock_now()) {
		d->queued = false;
		alarm_set_locked(d);
		one = NULL;
	} else {
		g_queue_pop_head(d->suspects);
	}
	mutex_unlock(&d->lock);
	return one;
}

static void again_run(struct pool_job *job)
{
	struct doubts *d = (struct doubts *)((char *)job - offsetof(struct doubts, again));
	struct server *s = d->server;
	for (struct suspect *one; (one = due(d)); g_free(one))
		if (!notifier_ask(s->notifier, one->id, false))
			inode_forget_unknown(s, one->id, one->nlookup);
}

static void ring(struct alarm *a)
{
	struct doubts *d = (struct doubts *)((char *)a - offsetof(struct doubts, alarm));
	mutex_lock(&d->lock);
	bool runs = !d->queued && !d->stopped;
	d->queued |= runs;
	mutex_unlock(&d->lock);
	if (runs)
		pool_submit(d->server->disk, &d->again);
}

struct doubts *doubts_new(struct server *s)
{
	struct doubts *d = g_new0(struct doubts, 1);
	d->server = s;
	d->suspects = g_queue_new();
	d->alarm.ring = ring;
	d->begin.run = begin_run;
	d->again.run = again_run;
	mutex_init(&d->lock, RANK_DOUBTS);
	return d;
}

void doubts_begin(struct doubts *d)
{
	pool_submit(d->server->disk, &d->begin);
}

void doubts_stop(struct doubts *d)
{
	mutex_lock(&d->lock);
	d->stopped = true;
	mutex_unlock(&d->lock);
	alarm_stop(d->server->clock, &d->alarm);
}

void doubts_free(struct doubts *d)
{
	if (!d)
		return;
	g_queue_free_full(d->suspects, g_free);
	mutex_destroy(&d->lock);
	g_free(d);
}
