/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "tests/unit/list_waiter.h"
#include <errno.h>

static void list_done(struct lister_wait *wait, struct listing *listing, int error)
{
	struct list_waiter *w = (struct list_waiter *)wait;

	pthread_mutex_lock(&w->lock);
	w->calls++;
	w->error = error;
	w->count = listing ? listing_count(listing) : 0;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

void list_init(struct list_waiter *w)
{
	*w = (struct list_waiter){.wait.done = list_done};
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
}

int list_wait(struct list_waiter *w)
{
	pthread_mutex_lock(&w->lock);
	while (w->calls == 0)
		pthread_cond_wait(&w->changed, &w->lock);
	g_assert_cmpuint(w->calls, ==, 1);
	pthread_mutex_unlock(&w->lock);
	return w->error;
}

int list(struct directory *d, bool *waited)
{
	struct listing *l = NULL;
	struct list_waiter w;
	int result;

	list_init(&w);
	result = lister_want(d, &w.wait, &l);
	if (waited)
		*waited = result == -EINPROGRESS;
	if (result == -EINPROGRESS)
		return list_wait(&w) ? -w.error : (int)w.count;
	if (result < 0)
		return result;
	result = listing_count(l);
	listing_unref(l);
	return result;
}
