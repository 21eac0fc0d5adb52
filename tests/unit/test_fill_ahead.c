/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Data that is fetched before a reader waits for it. */
#include "tests/unit/engine.h"
#include <errno.h>

#define K UINT64_C(1024)
#define CHUNK (64 * K)

/* Read-ahead is one request with the miss, skips present chunks, and keeps to its budget.
 * `delay_us` before each piece: the budget is no larger than what a slow line is given. */
static void check_ahead(unsigned delay_us)
{
	struct engine_options options = {.prefetch_bytes = 16 * CHUNK};
	struct engine *e = engine_new(&options);
	struct content *c;

	fake_file_add(e->fake, "f", 100 * CHUNK);
	e->fake->delay_us = delay_us;
	c = engine_content(e, "f");
	g_assert_cmpint(content_read(c, 0, CHUNK, 3 * CHUNK), ==, 0);
	fake_wait_idle(e->fake);
	g_assert_cmpuint(fake_reads(e->fake), ==, 1);
	g_assert_cmpuint(fake_read_at(e->fake, 0).length, ==, 4 * CHUNK);
	/* all present: nobody waits, and the new part is fetched nevertheless */
	g_assert_cmpint(content_read(c, 2 * CHUNK, CHUNK, 3 * CHUNK), ==, 0);
	fake_wait_idle(e->fake);
	g_assert_cmpuint(fake_read_at(e->fake, 1).offset, ==, 4 * CHUNK);
	g_assert_cmpuint(fake_read_at(e->fake, 1).length, ==, 2 * CHUNK);
	fake_gate(e->fake, true);
	g_assert_cmpint(content_read(c, 5 * CHUNK, CHUNK, 64 * CHUNK), ==, 0);
	fake_wait_reads(e->fake, 3); /* the source's threads could swap the two */
	g_assert_cmpint(content_read(c, 5 * CHUNK, CHUNK, 64 * CHUNK), ==, 0);
	fake_wait_reads(e->fake, 4);
	g_assert_cmpuint(fake_read_at(e->fake, 2).length, ==, 8 * CHUNK);
	g_assert_cmpuint(fake_read_at(e->fake, 3).offset, ==, 14 * CHUNK);
	g_assert_cmpuint(fake_read_at(e->fake, 3).length, ==, 4 * CHUNK);
	fake_gate(e->fake, false);
	fake_wait_idle(e->fake);
	content_check(c, 0, 0, 18 * CHUNK);
	/* the budget is free again */
	g_assert_cmpint(content_read(c, 17 * CHUNK, CHUNK, 64 * CHUNK), ==, 0);
	fake_wait_idle(e->fake);
	g_assert_cmpuint(fake_read_at(e->fake, 4).length, ==, 8 * CHUNK);
	content_unref(c);
	engine_free(e);
}

static void test_ahead(void)
{
	check_ahead(0);
	check_ahead(20000); /* 800 KiB a second */
}

/* On a slow line the read-ahead is shorter. */
static void test_ahead_slow(void)
{
	struct engine *e = engine_new(NULL);
	struct content *c;
	unsigned before;
	uint64_t sum = 0;

	fake_file_add(e->fake, "f", 1000 * CHUNK);
	c = engine_content(e, "f");
	e->fake->piece = CHUNK;
	e->fake->delay_us = 100000; /* 640 KiB a second */
	g_assert_cmpint(content_read(c, 0, 14 * CHUNK, 0), ==, 0);
	fake_gate(e->fake, true);
	before = fake_reads(e->fake);
	for (unsigned n = 0; n < 20; n++)
		g_assert_cmpint(content_read(c, 13 * CHUNK, CHUNK, 500 * CHUNK), ==, 0);
	fake_wait_reads(e->fake, before + 1);
	for (unsigned n = before; n < fake_reads(e->fake); n++)
		sum += fake_read_at(e->fake, n).length;
	g_assert_cmpuint(sum, >=, 4 * CHUNK);
	g_assert_cmpuint(sum, <=, 51 * CHUNK);
	content_unref(c);
	engine_free(e);
}

static void test_prefetch(void)
{
	struct engine_options options = {.prefetch_bytes = 4 * CHUNK};
	struct engine *e = engine_new(&options);
	struct content *small, *other, *large;

	fake_file_add(e->fake, "small", 3 * CHUNK - 5);
	fake_file_add(e->fake, "other", 2 * CHUNK);
	fake_file_add(e->fake, "large", 5 * CHUNK);
	small = engine_content(e, "small");
	other = engine_content(e, "other");
	large = engine_content(e, "large");
	fake_gate(e->fake, true);
	g_assert_true(fill_prefetch(small));
	g_assert_false(fill_prefetch(small));
	g_assert_false(fill_prefetch(other));
	g_assert_false(fill_prefetch(large));
	fake_gate(e->fake, false);
	fake_wait_idle(e->fake);
	g_assert_true(content_complete(small));
	content_check(small, 0, 0, 3 * CHUNK);
	g_assert_true(fill_prefetch(other));
	content_unref(other); /* the transfer holds a reference */
	content_unref(small);
	content_unref(large);
	fake_wait_idle(e->fake);
	g_assert_cmpuint(e->completed, ==, 2);
	g_assert_cmpuint(e->released, ==, 3);
	engine_free(e);
}

/* A reader far ahead of a slow stream does not wait for the data before its range. */
static void test_split(void)
{
	struct engine *e = engine_new(NULL);
	struct waiter near, far;
	struct content *c;

	fake_file_add(e->fake, "f", 1024 * CHUNK);
	c = engine_content(e, "f");
	fake_stall(e->fake, true, CHUNK);
	g_assert_cmpint(content_read(c, 0, CHUNK, 512 * CHUNK), ==, 0);
	waiter_init(&near);
	waiter_init(&far);
	g_assert_cmpint(waiter_want(&near, c, 20 * CHUNK, CHUNK, 0), ==, -EINPROGRESS);
	g_assert_cmpuint(fake_reads(e->fake), ==, 1);
	g_usleep(20000); /* slow: 500 chunks at this pace take seconds */
	g_assert_cmpint(waiter_want(&far, c, 500 * CHUNK, CHUNK, 0), ==, -EINPROGRESS);
	fake_wait_reads(e->fake, 2);
	g_assert_cmpuint(fake_read_at(e->fake, 1).offset, ==, 500 * CHUNK);
	fake_stall(e->fake, false, 0);
	g_assert_cmpint(waiter_wait(&far), ==, 0);
	g_assert_cmpint(waiter_wait(&near), ==, 0);
	fake_wait_idle(e->fake);
	content_check(c, 0, 0, 513 * CHUNK);
	g_assert_false(content_present(c, 513 * CHUNK, CHUNK));
	content_unref(c);
	engine_free(e);
}

/* The last piece of a transfer that was split reaches into the range of the other part. A source
 * that places the piece, and then finds that the file is another version, leaves the bytes of that
 * range as they are. */
static void test_split_and_placed(void)
{
	struct engine *e = engine_new(NULL);
	struct waiter far;
	struct content *c;

	fake_file_add(e->fake, "f", 200 * CHUNK);
	e->fake->places = true;
	e->fake->piece = 3 * CHUNK;
	c = engine_content(e, "f");
	fake_stall(e->fake, true, CHUNK);
	g_assert_cmpint(content_read(c, 0, CHUNK, 150 * CHUNK), ==, 0);
	g_usleep(50000); /* slow */
	waiter_init(&far);
	g_assert_cmpint(waiter_want(&far, c, 101 * CHUNK, CHUNK, 0), ==, -EINPROGRESS);
	fake_wait_reads(e->fake, 2);
	g_assert_cmpint(waiter_wait(&far), ==, 0);
	g_assert_cmpuint(fake_read_at(e->fake, 1).offset, ==, 101 * CHUNK);
	e->fake->overtaken = 101 * CHUNK; /* in the piece from 99 to 102 */
	fake_stall(e->fake, false, 0);
	fake_wait_idle(e->fake);
	g_assert_true(content_present(c, 98 * CHUNK, CHUNK));
	/* the rest is fetched again: the source has the version that the file follows */
	content_check(c, 0, 99 * CHUNK, 2 * CHUNK);
	g_assert_true(content_present(c, 101 * CHUNK, CHUNK));
	content_check(c, 0, 101 * CHUNK, CHUNK);
	content_unref(c);
	engine_free(e);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	engine_quiet();
	g_test_add_func("/fill/ahead", test_ahead);
	g_test_add_func("/fill/ahead_slow", test_ahead_slow);
	g_test_add_func("/fill/prefetch", test_prefetch);
	g_test_add_func("/fill/split", test_split);
	g_test_add_func("/fill/split_and_placed", test_split_and_placed);
	return g_test_run();
}
