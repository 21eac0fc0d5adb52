/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/shortage.h"
#include <errno.h>
#include "fetch/base/lock.h"
#include "fetch/store/disk/space.h"
#include "fuse/inode/server.h"

#define SECOND INT64_C(1000000000)

struct shortage {
	struct mutex lock;
	struct condition changed;
	bool stopped;
	struct wish wish;
	int64_t hopeless_ns; /* until then */
	uint64_t rounds;     /* that freed something, + 1 */
};

struct shortage *shortage_new(void)
{
	struct shortage *q = g_new0(struct shortage, 1);
	q->rounds = 1;
	mutex_init(&q->lock, RANK_SHORTAGE);
	condition_init(&q->changed);
	return q;
}

void shortage_free(struct shortage *q)
{
	if (!q)
		return;
	condition_destroy(&q->changed);
	mutex_destroy(&q->lock);
	g_free(q);
}

bool shortage_may_end(struct server *s, int error, uint64_t need, uint64_t *seen)
{
	struct shortage *q = s->shortage;
	struct space_look l;
	struct space_use use;
	if (error != ENOSPC && error != EDQUOT)
		return false;
	/* A sync that failed is not repeated: the second one would succeed, without the data. */
	if (store_failed(s->store) || store_space_look(s->store, &l) < 0)
		return false;
	bool enough = error == ENOSPC && space_lack(&l, need, 1) == 0 && !l.few_inodes;
	store_space_use(s->store, &use);
	if (use.known && need > l.free + use.fetched)
		return false;
	mutex_lock(&q->lock);
	bool may = !q->stopped && clock_now() >= q->hopeless_ns && !(enough && *seen == q->rounds);
	*seen = q->rounds;
	mutex_unlock(&q->lock);
	return may;
}

void shortage_tell(struct server *s, int error, uint64_t need)
{
	struct shortage *q = s->shortage;
	mutex_lock(&q->lock);
	q->wish.any = true;
	q->wish.unseen |= error == EDQUOT;
	q->wish.need = MAX(q->wish.need, need);
	condition_signal(&q->changed);
	mutex_unlock(&q->lock);
}

bool shortage_await(struct shortage *q, int64_t pause_ns, struct wish *out)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += pause_ns % SECOND;
	until.tv_sec += pause_ns / SECOND + until.tv_nsec / SECOND;
	until.tv_nsec %= SECOND;
	mutex_lock(&q->lock);
	while (!q->stopped && !q->wish.any && condition_wait_until(&q->changed, &q->lock, &until))
		;
	*out = q->wish;
	q->wish = (struct wish){0};
	bool goes_on = !q->stopped;
	mutex_unlock(&q->lock);
	return goes_on;
}

void shortage_eased(struct shortage *q)
{
	mutex_lock(&q->lock);
	q->rounds++;
	mutex_unlock(&q->lock);
}

void shortage_hopeless(struct shortage *q, int64_t until_ns)
{
	mutex_lock(&q->lock);
	q->hopeless_ns = until_ns;
	mutex_unlock(&q->lock);
}

void shortage_stop(struct shortage *q)
{
	mutex_lock(&q->lock);
	q->stopped = true;
	condition_signal(&q->changed);
	mutex_unlock(&q->lock);
}

bool shortage_stopped(struct shortage *q)
{
	mutex_lock(&q->lock);
	bool stopped = q->stopped;
	mutex_unlock(&q->lock);
	return stopped;
}
