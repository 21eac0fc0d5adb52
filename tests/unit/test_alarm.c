/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/pool.h"
#include <glib.h>
#include <pthread.h>

#define MS INT64_C(1000000)

struct bell {
	struct alarm alarm;
	struct alarm_clock *clock;
	struct tower *tower;
	int64_t due_ns;
	unsigned again; /* rings left */
};

struct tower {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int64_t last_ns; /* when due, of the last that rang */
	unsigned rung;
	bool hold, inside;
};

static void tower_init(struct tower *t)
{
	*t = (struct tower){0};
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->changed, NULL);
}

static void tower_wait(struct tower *t, unsigned rung)
{
	pthread_mutex_lock(&t->lock);
	while (t->rung < rung)
		pthread_cond_wait(&t->changed, &t->lock);
	pthread_mutex_unlock(&t->lock);
}

static void ring(struct alarm *a)
{
	struct bell *b = (struct bell *)a;
	struct tower *t = b->tower;

	pthread_mutex_lock(&t->lock);
	g_assert_cmpint(clock_now(), >=, b->due_ns);
	g_assert_cmpint(b->due_ns, >=, t->last_ns);
	t->last_ns = b->due_ns;
	t->inside = true;
	t->rung++;
	pthread_cond_broadcast(&t->changed);
	while (t->hold)
		pthread_cond_wait(&t->changed, &t->lock);
	t->inside = false;
	pthread_mutex_unlock(&t->lock);
	if (b->again > 0) {
		b->again--;
		b->due_ns = clock_now() + MS;
		alarm_set(b->clock, a, b->due_ns);
	}
}

static void bell_set(struct bell *b, struct alarm_clock *c, struct tower *t, int64_t due_ns)
{
	*b = (struct bell){.alarm.ring = ring, .clock = c, .tower = t, .due_ns = due_ns};
	alarm_set(c, &b->alarm, due_ns);
}

/* However they are set, they ring in order of their time, none early. */
static void test_order(void)
{
	struct alarm_clock *c = alarm_clock_new();
	struct bell bells[200];
	struct tower t;
	int64_t start = clock_now() + 20 * MS;

	tower_init(&t);
	for (unsigned n = 0; n < G_N_ELEMENTS(bells); n++)
		bell_set(&bells[n], c, &t, start + n * 37 % 200 * MS / 4);
	tower_wait(&t, G_N_ELEMENTS(bells));
	g_assert_cmpint(clock_now(), <, start + 5000 * MS);
	alarm_clock_free(c);
}

static void test_cancel(void)
{
	struct alarm_clock *c = alarm_clock_new();
	struct bell one, two, never = {0};
	struct tower t;

	tower_init(&t);
	g_assert_false(alarm_stop(c, &never.alarm));
	bell_set(&one, c, &t, clock_now() + 30 * MS);
	bell_set(&two, c, &t, clock_now() + 60 * MS);
	g_assert_true(alarm_stop(c, &one.alarm));
	g_assert_false(alarm_stop(c, &one.alarm));
	tower_wait(&t, 1);
	g_assert_cmpuint(t.rung, ==, 1);
	g_assert_false(alarm_stop(c, &two.alarm));
	alarm_clock_free(c);
}

/* An alarm set again rings at the last time that was set, later as well as earlier. */
static void test_set_again(void)
{
	struct alarm_clock *c = alarm_clock_new();
	struct bell one, two;
	struct tower t;

	tower_init(&t);
	bell_set(&one, c, &t, clock_now() + 3600 * 1000 * MS);
	one.due_ns = clock_now() + 10 * MS;
	alarm_set(c, &one.alarm, one.due_ns);
	tower_wait(&t, 1);
	bell_set(&two, c, &t, clock_now() + 10 * MS);
	pthread_mutex_lock(&t.lock);
	if (t.rung == 1) /* else the machine was too slow to show it */
		two.due_ns = clock_now() + 50 * MS;
	pthread_mutex_unlock(&t.lock);
	alarm_set(c, &two.alarm, two.due_ns);
	tower_wait(&t, 2);
	alarm_clock_free(c); /* `one` and `two` are not set */
}

/* A stopped alarm is neither set nor ringing, even if its ring sets it again. */
static void test_stop(void)
{
	struct alarm_clock *c = alarm_clock_new();
	struct bell *b = g_new0(struct bell, 1);
	struct tower t;

	tower_init(&t);
	bell_set(b, c, &t, clock_now() + MS);
	b->again = UINT_MAX;
	tower_wait(&t, 20);
	alarm_stop(c, &b->alarm);
	g_assert_false(t.inside);
	g_free(b);
	alarm_clock_free(c);
}

static void test_free_while_set(void)
{
	struct alarm_clock *c = alarm_clock_new();
	struct bell b;
	struct tower t;

	tower_init(&t);
	bell_set(&b, c, &t, clock_now() + 3600 * 1000 * MS);
	alarm_clock_free(c);
	g_assert_cmpuint(t.rung, ==, 0);
}

static void *hammer(void *user)
{
	struct bell *bells = user;

	for (unsigned n = 0; n < 20000; n++) {
		struct bell *b = &bells[n * 7919 % 16];

		if (n % 3 == 0)
			alarm_stop(b->clock, &b->alarm);
		else
			alarm_set(b->clock, &b->alarm, clock_now() + n % 5 * 20000);
	}
	return NULL;
}

static void ring_count(struct alarm *a)
{
	__atomic_add_fetch(&((struct bell *)a)->again, 1, __ATOMIC_RELAXED);
}

/* Set, stopped and ringing from several threads at once. */
static void test_threads(void)
{
	struct alarm_clock *c = alarm_clock_new();
	struct bell bells[16] = {0};
	pthread_t threads[4];
	unsigned rung = 0;

	for (unsigned n = 0; n < 16; n++)
		bells[n] = (struct bell){.alarm.ring = ring_count, .clock = c};
	for (unsigned n = 0; n < 4; n++)
		pthread_create(&threads[n], NULL, hammer, bells);
	for (unsigned n = 0; n < 4; n++)
		pthread_join(threads[n], NULL);
	for (unsigned n = 0; n < 16; n++) {
		alarm_stop(c, &bells[n].alarm);
		rung += __atomic_load_n(&bells[n].again, __ATOMIC_RELAXED);
	}
	g_assert_cmpuint(rung, >, 0);
	alarm_clock_free(c);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/alarm/order", test_order);
	g_test_add_func("/alarm/cancel", test_cancel);
	g_test_add_func("/alarm/set_again", test_set_again);
	g_test_add_func("/alarm/stop", test_stop);
	g_test_add_func("/alarm/free_while_set", test_free_while_set);
	g_test_add_func("/alarm/threads", test_threads);
	return g_test_run();
}
