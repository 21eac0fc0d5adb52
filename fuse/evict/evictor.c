/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/evict/evictor.h"
#include <errno.h>
#include <pthread.h>
#include "fetch/base/lock.h"
#include "fetch/store/disk/space.h"
#include "fetch/store/disk/lru.h"
#include "fuse/base/human.h"
#include "fuse/inode/server.h"
#include "fuse/inode/shortage.h"
#include "fuse/inode/waitqueue.h"
#include "fuse/evict/round.h"

#define SECOND INT64_C(1000000000)
/* Interval between checks of the free space; others are assumed to write at most 1 GB/s. */
#define LOOK_LEAST (SECOND / 10)
#define LOOK_MOST (5 * SECOND)
/* After a round that freed nothing: how long requests fail at once; how long background rounds
 * pause. */
#define HOPELESS_LEAST SECOND
#define HOPELESS_MOST (30 * SECOND)
#define REST (30 * SECOND)
/* Changes that bypass the daemon make the count drift: at least this long between measurements. */
#define MEASURE_LEAST (60 * SECOND)
#define TELL_EVERY (300 * SECOND)
#define SAVE_EVERY (600 * SECOND)

struct evictor {
	struct server *server;
	struct round *round;
	pthread_t thread;
	struct mutex lock; /* of `info` */
	struct evictor_info info;
	/* The thread's own: */
	int64_t rest_ns; /* the background rests until then */
	int64_t saved_ns, told_ns;
};

static bool is_wanted(void *user)
{
	return !shortage_stopped(((struct evictor *)user)->server->shortage);
}

void evictor_info(struct evictor *e, struct evictor_info *out)
{
	mutex_lock(&e->lock);
	*out = e->info;
	mutex_unlock(&e->lock);
}

/* How long the next check may wait: at 1 GB/s a byte takes 1 ns. */
static int64_t pause_ns(struct evictor *e)
{
	struct space_look l;
	struct space_use use;
	store_space_use(e->server->store, &use);
	if (store_space_look(e->server->store, &l) < 0 || clock_now() < e->rest_ns)
		return LOOK_MOST;
	if (!use.known)
		return SECOND;
	uint64_t start = l.floor + l.slack / 2;
	uint64_t left = l.free > start ? l.free - start : 0;
	if (l.quota) {
		uint64_t use = l.used + l.quota_slack / 2;
		left = MIN(left, l.quota > use ? l.quota - use : 0);
	}
	return CLAMP((int64_t)MIN(left, (uint64_t)LOOK_MOST), LOOK_LEAST, LOOK_MOST);
}

/* Bytes to free. The store is measured before a quota evicts, but at most every MEASURE_LEAST: the
 * count may be too high. */
static uint64_t lack(struct evictor *e, const struct wish *wish)
{
	struct server *s = e->server;
	struct space_look l;
	if (store_space_look(s->store, &l) < 0)
		return 0;
	/* the background starts at half the slack and restores all of it */
	unsigned part = wish->any ? 1 : 2;
	uint64_t need = wish->need;
	bool few = l.few_inodes && wish->any; /* others may use them up: only for who needs one */
	if (space_lack(&l, need, part) == 0 && !few)
		return 0;
	if (l.quota && l.used + l.quota_slack / part + need > l.quota &&
	    round_measure(e->round, MEASURE_LEAST) && store_space_look(s->store, &l) < 0)
		return 0;
	few = l.few_inodes && wish->any;
	if (space_lack(&l, need, part) == 0 && !few)
		return 0;
	return MAX(space_lack(&l, need, 1), few ? l.slack / 4 : 1);
}

static uint64_t lack_unseen(struct evictor *e, const struct wish *wish)
{
	struct space_look l;
	if (!wish->unseen || store_space_look(e->server->store, &l) < 0)
		return 0;
	return MAX(l.slack / 4, wish->need);
}

static void account(struct evictor *e, const struct round_result *r, int64_t began_ns)
{
	int64_t now = clock_now(), took = now - began_ns;
	mutex_lock(&e->lock);
	e->info.files += r->files;
	e->info.bytes += r->bytes;
	e->info.rounds++;
	e->info.failed_rounds += r->bytes == 0;
	e->info.in_use = r->in_use;
	e->info.pinned = r->pinned;
	e->info.sealed = r->sealed;
	e->info.unconfirmed = r->unconfirmed;
	mutex_unlock(&e->lock);
	if (r->bytes > 0)
		shortage_eased(e->server->shortage);
	else
		shortage_hopeless(e->server->shortage,
		                  now + CLAMP(4 * took, HOPELESS_LEAST, HOPELESS_MOST));
	e->rest_ns = r->bytes == 0 ? now + MAX(REST, 20 * took) : 0;
}

/* Once for each shortage, and again while it lasts. */
static void tell(struct evictor *e, const struct round_result *r, uint64_t goal, bool wanted)
{
	g_autofree char *freed = human_size(r->bytes), *size = human_size(goal);
	bool due = e->told_ns == 0 || clock_now() - e->told_ns > TELL_EVERY;
	if (r->bytes > 0)
		g_debug("evicted %" G_GUINT64_FORMAT " files, %s", r->files, freed);
	else if (due)
		g_log(G_LOG_DOMAIN, wanted ? G_LOG_LEVEL_WARNING : G_LOG_LEVEL_MESSAGE,
		      "store is short of %s and no cached file can be evicted: %u files are in "
		      "use, %u pinned, %u sealed, %u not confirmed by the source%s; free disk "
		      "space, unpin files or raise -o quota=",
		      size, r->in_use, r->pinned, r->sealed, r->unconfirmed,
		      r->unreachable ? ", which does not answer" : "");
	if (r->bytes > 0 || due)
		e->told_ns = r->bytes > 0 ? 0 : clock_now();
}

static void work(struct evictor *e, const struct wish *wish)
{
	int64_t began_ns = clock_now();
	if (!wish->any && began_ns < e->rest_ns)
		return;
	uint64_t goal = MAX(lack(e, wish), lack_unseen(e, wish));
	if (goal == 0)
		return;
	struct round_result r = round_run(e->round, goal);
	account(e, &r, began_ns);
	if (is_wanted(e))
		tell(e, &r, goal, wish->any);
}

static void save(struct evictor *e)
{
	struct server *s = e->server;
	int64_t now = clock_now();
	store_lru_trim(s->store);
	if (now - e->saved_ns < SAVE_EVERY)
		return;
	e->saved_ns = now;
	store_lru_save(s->store);
}

static void *evictor_main(void *data)
{
	struct evictor *e = data;
	struct server *s = e->server;
	struct space_use use;
	struct wish wish;
	e->saved_ns = clock_now();
	while (shortage_await(s->shortage, pause_ns(e), &wish)) {
		store_space_use(s->store, &use);
		if (!use.known)
			round_measure(e->round, MEASURE_LEAST);
		work(e, &wish);
		waitqueue_call(s->waitqueue, s->shortage);
		save(e);
	}
	return NULL;
}

struct evictor *evictor_new(struct server *s)
{
	struct evictor *e = g_new0(struct evictor, 1);
	e->server = s;
	e->round = round_new(s, is_wanted, e);
	mutex_init(&e->lock, RANK_EVICTOR);
	if (pthread_create(&e->thread, NULL, evictor_main, e) == 0)
		return e;
	g_warning("cannot start the eviction thread: cached data is not evicted automatically");
	shortage_stop(s->shortage);
	round_free(e->round);
	mutex_destroy(&e->lock);
	g_free(e);
	return NULL;
}

void evictor_free(struct evictor *e)
{
	if (!e)
		return;
	shortage_stop(e->server->shortage);
	pthread_join(e->thread, NULL);
	round_free(e->round);
	mutex_destroy(&e->lock);
	g_free(e);
}
