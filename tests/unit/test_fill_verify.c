/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* After an unclean stop a chunk is used only after its hash has been verified. */
#include "tests/unit/engine.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (UINT64_C(64) << 10)

static struct content *reopen(struct engine *e, struct content *c, const char *path, uint64_t size)
{
	content_unref(c);
	engine_stop(e);
	engine_start(e, true);
	fake_file_add(e->fake, path, size);
	return engine_content(e, path);
}

static void damage(struct content *c, uint64_t offset)
{
	uint8_t byte;

	g_assert_cmpint(pread(content_fd(c), &byte, 1, offset), ==, 1);
	byte ^= 0x10;
	g_assert_cmpint(pwrite(content_fd(c), &byte, 1, offset), ==, 1);
}

static void test_verified(void)
{
	struct engine *e = engine_new(NULL);
	struct fill_counters n;
	struct content *c;

	fake_file_add(e->fake, "f", 8 * CHUNK + 5);
	c = engine_content(e, "f");
	g_assert_cmpint(content_read(c, 0, 9 * CHUNK, 0), ==, 0);
	c = reopen(e, c, "f", 8 * CHUNK + 5);
	g_assert_false(content_complete(c));
	g_assert_false(content_present(c, 0, 1));
	g_assert_cmpint(content_read(c, 2 * CHUNK, CHUNK, 0), ==, 0);
	fill_counters(e->fill, &n);
	g_assert_cmpuint(n.chunks_verified, ==, 1); /* lazily */
	e->completed = 0;
	g_assert_true(fill_prefetch(c));
	while (!content_complete(c))
		g_usleep(1000);
	g_assert_cmpint(content_read(c, 0, 9 * CHUNK, 0), ==, 0);
	fill_counters(e->fill, &n);
	g_assert_cmpuint(n.chunks_verified, ==, 9);
	g_assert_cmpuint(fake_reads(e->fake), ==, 0);
	g_assert_cmpuint(__atomic_load_n(&e->completed, __ATOMIC_SEQ_CST), ==, 1);
	content_unref(c);
	engine_free(e);
}

/* Only chunks that do not match are fetched. */
static void test_damaged(void)
{
	struct engine *e = engine_new(NULL);
	uint64_t sum = 0;
	struct content *c;

	fake_file_add(e->fake, "f", 300 * CHUNK);
	c = engine_content(e, "f");
	g_assert_cmpint(content_read(c, 0, 290 * CHUNK, 0), ==, 0);
	for (unsigned k = 100; k < 250; k++)
		damage(c, k * CHUNK + k);
	damage(c, 0);
	damage(c, 5 * CHUNK - 1);
	damage(c, 5 * CHUNK);
	damage(c, 290 * CHUNK - 1);
	c = reopen(e, c, "f", 300 * CHUNK);
	g_assert_cmpint(content_read(c, 0, 300 * CHUNK, 0), ==, 0);
	content_check(c, 0, 0, 300 * CHUNK);
	for (unsigned n = 0; n < fake_reads(e->fake); n++)
		sum += fake_read_at(e->fake, n).length;
	g_assert_cmpuint(sum, ==, (150 + 1 + 2 + 1 + 10) * CHUNK);
	g_assert_cmpuint(fake_reads(e->fake), <=, 8);
	content_unref(c);
	engine_free(e);
}

struct reader {
	struct content *content;
	unsigned seed;
};

static void *read_all_over(void *user)
{
	struct reader *r = user;
	g_autoptr(GRand) rand = g_rand_new_with_seed(r->seed);

	for (unsigned n = 0; n < 50; n++) {
		uint64_t at = g_rand_int_range(rand, 0, 64) * CHUNK;

		g_assert_cmpint(content_read(r->content, at, 3 * CHUNK, 0), ==, 0);
		content_check(r->content, 0, at, 3 * CHUNK);
	}
	return NULL;
}

/* Several readers: each chunk is verified once, each damaged one fetched once. */
static void test_single_flight(void)
{
	struct engine *e = engine_new(NULL);
	struct fill_counters n;
	struct reader readers[4];
	pthread_t threads[4];
	struct content *c;

	fake_file_add(e->fake, "f", 64 * CHUNK);
	c = engine_content(e, "f");
	g_assert_cmpint(content_read(c, 0, 64 * CHUNK, 0), ==, 0);
	for (unsigned k = 0; k < 64; k += 3)
		damage(c, k * CHUNK);
	c = reopen(e, c, "f", 64 * CHUNK);
	for (unsigned k = 0; k < 4; k++) {
		readers[k] = (struct reader){c, k};
		pthread_create(&threads[k], NULL, read_all_over, &readers[k]);
	}
	for (unsigned k = 0; k < 4; k++)
		pthread_join(threads[k], NULL);
	g_assert_cmpint(content_read(c, 0, 64 * CHUNK, 0), ==, 0);
	fill_counters(e->fill, &n);
	g_assert_cmpuint(n.chunks_verified, ==, 64);
	g_assert_cmpuint(n.chunks_fetched, ==, 22);
	content_unref(c);
	engine_free(e);
}

/* A damaged chunk, and no answer of the source: an error. The next read tries again. */
static void test_damaged_offline(void)
{
	struct engine *e = engine_new(NULL);
	struct content *c;

	fake_file_add(e->fake, "f", 4 * CHUNK);
	c = engine_content(e, "f");
	g_assert_cmpint(content_read(c, 0, 4 * CHUNK, 0), ==, 0);
	damage(c, CHUNK + 1);
	c = reopen(e, c, "f", 4 * CHUNK);
	fake_fail(e->fake, FETCH_UNREACHABLE, 0);
	g_assert_cmpint(content_read(c, 0, CHUNK, 0), ==, 0);
	g_assert_cmpint(content_read(c, CHUNK, CHUNK, 0), ==, EIO);
	g_assert_cmpint(content_read(c, 0, 4 * CHUNK, 0), ==, EIO);
	g_assert_cmpint(content_read(c, 2 * CHUNK, 2 * CHUNK, 0), ==, 0);
	fake_fail(e->fake, -1, 0);
	g_assert_cmpint(content_read(c, 0, 4 * CHUNK, 0), ==, 0);
	content_check(c, 0, 0, 4 * CHUNK);
	g_assert_true(content_complete(c));
	content_unref(c);
	engine_free(e);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	engine_quiet();
	g_test_add_func("/verify/verified", test_verified);
	g_test_add_func("/verify/damaged", test_damaged);
	g_test_add_func("/verify/single_flight", test_single_flight);
	g_test_add_func("/verify/damaged_offline", test_damaged_offline);
	return g_test_run();
}
