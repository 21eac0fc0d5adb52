/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/pool.h"
#include "fetch/base/lock.h"
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

struct alarm_clock {
	struct mutex lock;
	struct condition changed; /* the earliest, `ringing` or `ending` */
	GSequence *alarms;        /* of struct alarm *, borrowed, by at_ns; under lock */
	struct alarm *ringing;    /* only compared, never followed; under lock */
	bool ending;              /* under lock */
	pthread_t thread;
};

static int64_t clock_read(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_now(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

int64_t clock_realtime(void)
{
	return clock_read(CLOCK_REALTIME);
}

static int alarm_compare(gconstpointer a, gconstpointer b, gpointer unused)
{
	const struct alarm *x = a, *y = b;

	return x->at_ns < y->at_ns ? -1 : x->at_ns > y->at_ns;
}

static bool alarm_remove_locked(struct alarm *a)
{
	if (a->link == NULL)
		return false;
	g_sequence_remove(a->link);
	a->link = NULL;
	a->at_ns = 0;
	return true;
}

static void *clock_run(void *arg)
{
	struct alarm_clock *c = arg;

	pthread_setname_np(pthread_self(), "alarm");
	mutex_lock(&c->lock);
	while (!c->ending) {
		GSequenceIter *first = g_sequence_get_begin_iter(c->alarms);
		struct alarm *a;

		if (g_sequence_iter_is_end(first)) {
			condition_wait(&c->changed, &c->lock);
			continue;
		}
		a = g_sequence_get(first);
		if (a->at_ns > clock_now()) {
			struct timespec until = {a->at_ns / 1000000000, a->at_ns % 1000000000};

			condition_wait_until(&c->changed, &c->lock, &until);
			continue;
		}
		alarm_remove_locked(a);
		c->ringing = a;
		mutex_unlock(&c->lock);
		a->ring(a); /* may free it */
		mutex_lock(&c->lock);
		c->ringing = NULL;
		condition_broadcast(&c->changed);
	}
	mutex_unlock(&c->lock);
	return NULL;
}

struct alarm_clock *alarm_clock_new(void)
{
	struct alarm_clock *c = g_new0(struct alarm_clock, 1);
	sigset_t all, before;
	int error;

	mutex_init(&c->lock, RANK_ALARM);
	condition_init(&c->changed);
	c->alarms = g_sequence_new(NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&c->thread, NULL, clock_run, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error != 0)
		g_error("no thread for the clock: %s", g_strerror(error));
	return c;
}

void alarm_set(struct alarm_clock *c, struct alarm *a, int64_t at_ns)
{
	mutex_lock(&c->lock);
	alarm_remove_locked(a);
	a->at_ns = at_ns > 0 ? at_ns : 1;
	a->link = g_sequence_insert_sorted(c->alarms, a, alarm_compare, NULL);
	if (g_sequence_iter_is_begin(a->link))
		condition_broadcast(&c->changed);
	mutex_unlock(&c->lock);
}

bool alarm_stop(struct alarm_clock *c, struct alarm *a)
{
	bool was_set = false;

	mutex_lock(&c->lock);
	g_assert(!pthread_equal(pthread_self(), c->thread));
	was_set = alarm_remove_locked(a);
	/* its ring may set it again */
	while (c->ringing == a) {
		condition_wait(&c->changed, &c->lock);
		was_set |= alarm_remove_locked(a);
	}
	mutex_unlock(&c->lock);
	return was_set;
}

void alarm_clock_free(struct alarm_clock *c)
{
	if (c == NULL)
		return;
	mutex_lock(&c->lock);
	c->ending = true;
	condition_broadcast(&c->changed);
	mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	g_sequence_free(c->alarms);
	condition_destroy(&c->changed);
	mutex_destroy(&c->lock);
	g_free(c);
}
