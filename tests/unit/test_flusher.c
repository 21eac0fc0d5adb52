/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* When a flush is due, and that none is once the flusher is stopped. Only the test sees the alarm.
 */
#include <glib.h>
#include <semaphore.h>
#include "fetch/store/disk/store_private.h"
#include "fetch/store/file/flusher.c"
#include "tests/unit/store_box.h"

struct world {
	struct box box;
	struct pool *disk; /* one thread */
	struct alarm_clock *clock;
	struct flusher *flusher;
	struct pool_job busy, write;
	sem_t goes_on;
};

static void busy_run(struct pool_job *job)
{
	struct world *w = (struct world *)((char *)job - offsetof(struct world, busy));
	sem_wait(&w->goes_on);
}

static void write_run(struct pool_job *job)
{
	struct world *w = (struct world *)((char *)job - offsetof(struct world, write));
	flusher_wake(w->flusher);
}

static void world_new(struct world *w)
{
	*w = (struct world){.busy.run = busy_run, .write.run = write_run};
	box_new(&w->box);
	sem_init(&w->goes_on, 0, 0);
	w->disk = pool_new("disk", 1);
	w->clock = alarm_clock_new();
	w->flusher = flusher_new(w->box.store, w->disk, w->clock);
}

static void world_free(struct world *w)
{
	flusher_free(w->flusher);
	alarm_clock_free(w->clock);
	sem_destroy(&w->goes_on);
	box_free(&w->box);
}

/* The flusher is stopped with a flush queued, and a write after that. */
static void test_stops(void)
{
	struct world w;
	world_new(&w);
	pool_submit(w.disk, &w.busy);
	flusher_wake(w.flusher);
	g_assert_true(alarm_stop(w.clock, &w.flusher->alarm)); /* it was set; it rings now: */
	flusher_ring(&w.flusher->alarm);
	pool_submit(w.disk, &w.write);
	flusher_stop(w.flusher);
	sem_post(&w.goes_on);
	pool_free(w.disk);
	g_assert_false(alarm_stop(w.clock, &w.flusher->alarm));
	world_free(&w);
}

static void test_rings_too_late(void)
{
	struct world w;
	world_new(&w);
	flusher_wake(w.flusher);
	flusher_stop(w.flusher);
	g_assert_false(alarm_stop(w.clock, &w.flusher->alarm));
	flusher_wake(w.flusher);
	g_assert_false(alarm_stop(w.clock, &w.flusher->alarm));
	pool_free(w.disk);
	world_free(&w);
}

/* One flush covers all writes before it begins; later ones need another. */
static void test_wakes_again(void)
{
	struct world w;
	world_new(&w);
	flusher_wake(w.flusher);
	flusher_wake(w.flusher);
	g_assert_true(alarm_stop(w.clock, &w.flusher->alarm));
	flusher_wake(w.flusher); /* it is taken to be set */
	g_assert_false(alarm_stop(w.clock, &w.flusher->alarm));
	pool_submit(w.disk, &w.busy);
	flusher_ring(&w.flusher->alarm);
	pool_submit(w.disk, &w.write);
	sem_post(&w.goes_on);
	pool_free(w.disk);
	g_assert_true(alarm_stop(w.clock, &w.flusher->alarm));
	flusher_stop(w.flusher);
	world_free(&w);
}

static void *run(void *user)
{
	flusher_run(user);
	return NULL;
}

/* A disk that takes long has one flush, not one more thread of the pool each few seconds. */
static void test_one_at_a_time(void)
{
	struct world w;
	pthread_t flush;
	int state;
	world_new(&w);
	mutex_lock(&w.box.store->dirty.flushing); /* the disk takes long */
	flusher_wake(w.flusher);
	g_assert_true(alarm_stop(w.clock, &w.flusher->alarm));
	g_assert_cmpint(pthread_create(&flush, NULL, run, &w.flusher->job), ==, 0);
	do {
		g_usleep(1000);
		state = __atomic_load_n(&w.flusher->state, __ATOMIC_SEQ_CST);
	} while (state == SET);
	flusher_wake(w.flusher);
	flusher_wake(w.flusher);
	g_assert_false(alarm_stop(w.clock, &w.flusher->alarm));
	mutex_unlock(&w.box.store->dirty.flushing);
	pthread_join(flush, NULL);
	g_assert_true(alarm_stop(w.clock, &w.flusher->alarm)); /* for writes since its begin */
	flusher_stop(w.flusher);
	pool_free(w.disk);
	world_free(&w);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/flusher/stops", test_stops);
	g_test_add_func("/flusher/rings_too_late", test_rings_too_late);
	g_test_add_func("/flusher/wakes_again", test_wakes_again);
	g_test_add_func("/flusher/one_at_a_time", test_one_at_a_time);
	return g_test_run();
}
