/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A partly cached file goes on in another version, if all that is cached agrees with it. */
#include "tests/unit/engine.h"
#include <errno.h>

#define CHUNK (UINT64_C(64) * 1024)

static struct content *cached(struct engine *e)
{
	fake_file_add(e->fake, "f", 8 * CHUNK - 100);
	struct content *c = engine_content(e, "f");
	g_assert_cmpint(content_read(c, 0, 2 * CHUNK, 0), ==, 0);
	g_assert_cmpint(content_read(c, 5 * CHUNK, 10, 0), ==, 0);
	return c;
}

static void test_equal(void)
{
	struct engine *e = engine_new(NULL);
	struct content *c = cached(e);
	fake_file_relabel(e->fake, "f");
	unsigned reads = fake_reads(e->fake);
	g_assert_cmpint(content_read(c, 3 * CHUNK, 10, 0), ==, 0);
	g_assert_cmpuint(content_version(c), ==, 2000);
	/* the one that failed, two ranges that are cached, and again */
	g_assert_cmpuint(fake_reads(e->fake), ==, reads + 4);
	g_assert_cmpuint(fake_read_at(e->fake, reads + 1).offset, ==, 0);
	g_assert_cmpuint(fake_read_at(e->fake, reads + 1).length, ==, 2 * CHUNK);
	g_assert_cmpuint(fake_read_at(e->fake, reads + 2).offset, ==, 5 * CHUNK);
	g_assert_cmpint(content_read(c, 7 * CHUNK, 10, 0), ==, 0);
	/* but not again and again */
	fake_file_relabel(e->fake, "f");
	g_assert_cmpint(content_read(c, 4 * CHUNK, 10, 0), ==, EIO);
	content_unref(c);
	/* the store has it so */
	engine_stop(e);
	engine_start(e, false);
	fake_file_add(e->fake, "f", 8 * CHUNK - 100);
	fake_file_relabel(e->fake, "f");
	fake_file_relabel(e->fake, "f");
	c = engine_content(e, "f");
	g_assert_cmpuint(content_version(c), ==, 2000);
	g_assert_true(content_present(c, 7 * CHUNK, 10));
	/* another minute, another server */
	g_assert_cmpint(content_read(c, 0, 8 * CHUNK, 0), ==, 0);
	g_assert_cmpuint(content_version(c), ==, 3000);
	content_check(c, 0, 0, 8 * CHUNK - 100);
	content_unref(c);
	engine_free(e);
}

static void test_differs(void)
{
	struct engine *e = engine_new(NULL);
	struct content *c = cached(e);
	fake_file_change(e->fake, "f");
	g_assert_cmpint(content_read(c, 3 * CHUNK, 10, 0), ==, EIO);
	g_assert_cmpuint(content_version(c), ==, 1000);
	g_assert_false(content_present(c, 3 * CHUNK, 10));
	content_check(c, 0, 0, 2 * CHUNK);
	g_assert_cmpuint(e->changed, >=, 1);
	content_unref(c);
	engine_free(e);
}

/* A server that sends the whole file, whatever it is asked for. */
static void test_whole(void)
{
	struct engine *e = engine_new(NULL);
	struct content *c = cached(e);
	fake_file_relabel(e->fake, "f");
	e->fake->ignore_range = true;
	g_assert_cmpint(content_read(c, 3 * CHUNK, 10, 0), ==, 0);
	fake_wait_idle(e->fake);
	content_check(c, 0, 0, 4 * CHUNK);
	content_unref(c);
	engine_free(e);
}

/* Data of the old version that arrives after the new one is followed is fetched again. */
static void test_overtaken(void)
{
	struct engine *e = engine_new(NULL);
	struct content *c = cached(e);
	struct waiter old, new;
	waiter_init(&old);
	waiter_init(&new);
	fake_stall(e->fake, true, 100 * CHUNK);
	e->fake->stall_after = CHUNK / 2;
	unsigned reads = fake_reads(e->fake);
	g_assert_cmpint(waiter_want(&old, c, 3 * CHUNK, 10, 0), ==, -EINPROGRESS);
	fake_wait_reads(e->fake, reads + 1);
	fake_file_relabel(e->fake, "f");
	g_assert_cmpint(waiter_want(&new, c, 6 * CHUNK, 10, 0), ==, -EINPROGRESS);
	fake_wait_reads(e->fake, reads + 3); /* it failed, and the comparison has begun */
	fake_stall(e->fake, false, 0);
	g_assert_cmpint(waiter_wait(&new), ==, 0);
	g_assert_cmpint(waiter_wait(&old), ==, 0);
	g_assert_cmpuint(content_version(c), ==, 2000);
	content_check(c, 0, 3 * CHUNK, CHUNK);
	content_unref(c);
	engine_free(e);
}

/* Several waiters of a file whose server is gone, and the end of the mount meanwhile. */
static void test_many(void)
{
	for (unsigned stop = 0; stop < 2; stop++) {
		struct engine *e = engine_new(NULL);
		struct content *c = cached(e);
		struct waiter w[3];
		unsigned reads = fake_reads(e->fake);
		fake_file_relabel(e->fake, "f");
		fake_stall(e->fake, true, 0);
		for (unsigned n = 0; n < G_N_ELEMENTS(w); n++) {
			waiter_init(&w[n]);
			g_assert_cmpint(waiter_want(&w[n], c, (2 + 2 * n) * CHUNK, 10, 0), ==,
			                -EINPROGRESS);
		}
		/* each was refused, and the comparison has begun */
		fake_wait_reads(e->fake, reads + 4);
		content_unref(c);
		if (stop) {
			engine_stop(e);
			engine_start(e, false);
		} else {
			fake_stall(e->fake, false, 0);
		}
		for (unsigned n = 0; n < G_N_ELEMENTS(w); n++)
			g_assert_cmpint(waiter_wait(&w[n]), ==, stop ? EIO : 0);
		fake_wait_idle(e->fake);
		engine_free(e);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	engine_quiet();
	g_test_add_func("/fill/rebind_equal", test_equal);
	g_test_add_func("/fill/rebind_differs", test_differs);
	g_test_add_func("/fill/rebind_whole", test_whole);
	g_test_add_func("/fill/rebind_overtaken", test_overtaken);
	g_test_add_func("/fill/rebind_many", test_many);
	return g_test_run();
}
