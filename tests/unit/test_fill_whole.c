/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Servers that ignore ranges, and send the whole file. */
#include "tests/unit/engine.h"
#include <errno.h>

#define CHUNK (UINT64_C(64) << 10)

/* A file of 100 chunks, whose first two took 0.2 s. */
static struct content *slow_answer(struct engine *e)
{
	fake_file_add(e->fake, "f", 100 * CHUNK);
	e->fake->ignore_range = true;
	struct content *c = engine_content(e, "f");
	fake_stall(e->fake, true, 2 * CHUNK);
	g_assert_cmpint(content_read(c, 0, CHUNK, 0), ==, 0);
	g_usleep(200000);
	return c;
}

/* A server that ignored Range once, and sends the whole file too slowly: what it has not sent is
 * requested again, one request at a time until one is answered with its range. */
static void test_ignored_range_slowly(void)
{
	struct engine_options options = {.wait_ms = 4000};
	struct engine *e = engine_new(&options);
	struct waiter one, two;
	struct fill_counters n;
	struct content *c;

	c = slow_answer(e);
	waiter_init(&one);
	waiter_init(&two);
	g_assert_cmpint(waiter_want(&one, c, 90 * CHUNK, CHUNK, 0), ==, -EINPROGRESS);
	for (fill_counters(e->fill, &n); n.transfers != 1; fill_counters(e->fill, &n))
		g_usleep(1000);
	g_assert_cmpuint(fake_reads(e->fake), ==, 2);
	g_assert_cmpint(waiter_want(&two, c, 80 * CHUNK, CHUNK, 0), ==, -EINPROGRESS);
	g_assert_cmpint(waiter_wait(&one), ==, EIO);
	g_assert_cmpint(waiter_wait(&two), ==, EIO);
	g_assert_cmpuint(fake_reads(e->fake), ==, 2);
	pthread_mutex_lock(&e->fake->lock);
	e->fake->ignore_range = false;
	pthread_mutex_unlock(&e->fake->lock);
	g_assert_cmpint(content_read(c, 80 * CHUNK, 2 * CHUNK, 0), ==, 0);
	g_assert_cmpint(content_read(c, 90 * CHUNK, CHUNK, 0), ==, 0);
	g_assert_cmpuint(fake_reads(e->fake), ==, 4);
	fake_stall(e->fake, false, 0);
	fake_wait_idle(e->fake);
	content_check(c, 0, 0, 100 * CHUNK);
	g_assert_cmpuint(fake_reads(e->fake), ==, 4);
	content_unref(c);
	engine_free(e);
}

/* The chunk that was requested anew comes with the slow answer, as the new request failed. */
static void test_ignored_range_and_failure(void)
{
	struct engine_options options = {.wait_ms = 4000};
	struct engine *e = engine_new(&options);
	struct waiter one;
	struct content *c;

	c = slow_answer(e);
	fake_fail(e->fake, FETCH_MISSING, 1);
	waiter_init(&one);
	g_assert_cmpint(waiter_want(&one, c, 90 * CHUNK, CHUNK, 0), ==, -EINPROGRESS);
	g_assert_cmpint(waiter_wait(&one), ==, EIO);
	fake_stall(e->fake, false, 0);
	fake_wait_idle(e->fake);
	g_assert_cmpuint(fake_reads(e->fake), ==, 2);
	content_check(c, 0, 0, 100 * CHUNK);
	g_assert_cmpuint(fake_reads(e->fake), ==, 2);
	content_unref(c);
	engine_free(e);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	engine_quiet();
	g_test_add_func("/fill_whole/ignored_range_slowly", test_ignored_range_slowly);
	g_test_add_func("/fill_whole/ignored_range_and_failure", test_ignored_range_and_failure);
	return g_test_run();
}
