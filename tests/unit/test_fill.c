/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Fetches and waits without any failure. */
#include "tests/unit/engine.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define K UINT64_C(1024)
#define CHUNK (64 * K)

static void test_read(void)
{
	struct engine *e = engine_new(NULL);
	struct fill_counters n;
	struct content *c;

	fake_file_add(e->fake, "a/b/file", 10 * CHUNK + 123);
	e->fake->piece = 5003;
	c = engine_content(e, "a/b/file");
	g_assert_cmpint(content_fd(c), ==, -1);
	g_assert_false(content_present(c, 0, 1));
	g_assert_cmpint(content_read(c, 2 * CHUNK + 7, 100, 0), ==, 0);
	content_check(c, 0, 2 * CHUNK, CHUNK);
	g_assert_false(content_present(c, 3 * CHUNK - 1, 2));
	g_assert_cmpuint(fake_reads(e->fake), ==, 1);
	g_assert_cmpuint(fake_read_at(e->fake, 0).offset, ==, 2 * CHUNK);
	g_assert_cmpuint(fake_read_at(e->fake, 0).length, ==, CHUNK);
	/* the short last chunk, and a range that runs past the end */
	g_assert_cmpint(content_read(c, 10 * CHUNK, 4 * CHUNK, 0), ==, 0);
	g_assert_cmpuint(fake_read_at(e->fake, 1).length, ==, 123);
	g_assert_cmpint(content_read(c, 11 * CHUNK, 1, 0), ==, 0);
	g_assert_cmpuint(e->completed, ==, 0);
	g_assert_cmpint(content_read(c, 0, UINT64_MAX, 0), ==, 0);
	content_check(c, 0, 0, 11 * CHUNK);
	g_assert_true(content_complete(c));
	g_assert_cmpuint(e->completed, ==, 1);
	fill_counters(e->fill, &n);
	g_assert_cmpuint(n.bytes_fetched, ==, 10 * CHUNK + 123);
	g_assert_cmpuint(n.chunks_fetched, ==, 11);
	g_assert_cmpuint(n.waiters + n.errors, ==, 0);
	content_unref(c);
	fake_wait_idle(e->fake);
	g_assert_cmpuint(e->released, ==, 1);
	engine_free(e);
}

/* Around present chunks: one request for each run of missing ones, and no byte twice. */
static void test_runs(void)
{
	struct engine *e = engine_new(NULL);
	struct content *c;
	uint64_t sum = 0;

	fake_file_add(e->fake, "f", 16 * CHUNK);
	c = engine_content(e, "f");
	g_assert_cmpint(content_read(c, 5 * CHUNK, 1, 0), ==, 0);
	g_assert_cmpint(content_read(c, 9 * CHUNK, CHUNK + 1, 0), ==, 0);
	g_assert_cmpuint(fake_reads(e->fake), ==, 2);
	g_assert_cmpint(content_read(c, CHUNK, 13 * CHUNK, 0), ==, 0);
	g_assert_cmpuint(fake_reads(e->fake), ==, 5);
	for (unsigned n = 0; n < 5; n++)
		sum += fake_read_at(e->fake, n).length;
	g_assert_cmpuint(sum, ==, 13 * CHUNK);
	content_check(c, 0, CHUNK, 13 * CHUNK);
	content_unref(c);
	engine_free(e);
}

/* Supplied data is used also while a read of the source waits for an answer, which is not needed
 * then. */
static void test_supplied(void)
{
	struct engine *e = engine_new(NULL);
	struct content *c;
	struct waiter some, rest;

	fake_file_add(e->fake, "f", 40 * CHUNK + 5);
	e->fake->supplied = 10 * CHUNK;
	fake_gate(e->fake, true);
	c = engine_content(e, "f");
	waiter_init(&some);
	g_assert_cmpint(waiter_want(&some, c, 2 * CHUNK, 3 * CHUNK, 0), ==, -EINPROGRESS);
	fake_wait_reads(e->fake, 1);
	g_assert_cmpint(content_read(c, 10 * CHUNK, 1, 0), ==, 0);
	g_assert_cmpint(waiter_wait(&some), ==, 0);
	waiter_init(&rest);
	if (waiter_want(&rest, c, 0, UINT64_MAX, 0) != 0)
		g_assert_cmpint(waiter_wait(&rest), ==, 0);
	content_check(c, 1, 0, 40 * CHUNK + 5);
	fake_gate(e->fake, false);
	fake_wait_idle(e->fake);
	content_check(c, 1, 0, 40 * CHUNK + 5);
	g_assert_cmpuint(fake_reads(e->fake), ==, 2);
	content_unref(c);
	engine_free(e);
}

/* All supplied data is stored, although no reader needs more and the file is closed. */
static void test_supplied_and_left(void)
{
	struct engine_options options = {.prefetch_bytes = 4 * CHUNK};
	struct engine *e = engine_new(&options);
	struct content *c;

	fake_file_add(e->fake, "f", 40 * CHUNK + 5);
	e->fake->supplied = CHUNK;
	fake_stall(e->fake, true, 2 * CHUNK);
	c = engine_content(e, "f");
	g_assert_cmpint(content_read(c, CHUNK, 1, 0), ==, 0);
	content_unref(c);
	fake_stall(e->fake, false, 0);
	fake_wait_idle(e->fake);
	c = engine_content(e, "f");
	g_assert_cmpint(content_read(c, 0, UINT64_MAX, 0), ==, 0);
	content_check(c, 1, 0, 40 * CHUNK + 5);
	g_assert_cmpuint(fake_reads(e->fake), ==, 1);
	content_unref(c);
	engine_free(e);
}

static void *want_one(void *user)
{
	return GINT_TO_POINTER(content_read(user, 3 * CHUNK + 5, 10, 0));
}

static void test_single_flight(void)
{
	struct engine *e = engine_new(NULL);
	pthread_t threads[200];
	struct fill_counters n;
	struct content *c;

	fake_file_add(e->fake, "f", 8 * CHUNK);
	c = engine_content(e, "f");
	fake_gate(e->fake, true);
	for (unsigned k = 0; k < G_N_ELEMENTS(threads); k++)
		g_assert_cmpint(pthread_create(&threads[k], NULL, want_one, c), ==, 0);
	do {
		g_usleep(1000);
		fill_counters(e->fill, &n);
	} while (n.waiters < G_N_ELEMENTS(threads));
	g_assert_cmpuint(n.transfers, ==, 1);
	fake_gate(e->fake, false);
	for (unsigned k = 0; k < G_N_ELEMENTS(threads); k++) {
		void *error;

		pthread_join(threads[k], &error);
		g_assert_null(error);
	}
	g_assert_cmpuint(fake_reads(e->fake), ==, 1);
	content_check(c, 0, 3 * CHUNK, CHUNK);
	content_unref(c);
	engine_free(e);
}

/* A reader that comes during a transfer requests the rest only. */
static void test_overlap(void)
{
	struct engine *e = engine_new(NULL);
	struct waiter one, two;
	struct content *c;

	fake_file_add(e->fake, "f", 8 * CHUNK);
	c = engine_content(e, "f");
	fake_gate(e->fake, true);
	waiter_init(&one);
	waiter_init(&two);
	g_assert_cmpint(waiter_want(&one, c, CHUNK, 2 * CHUNK, 0), ==, -EINPROGRESS);
	g_assert_cmpint(waiter_want(&two, c, 0, 5 * CHUNK, 0), ==, -EINPROGRESS);
	fake_gate(e->fake, false);
	g_assert_cmpint(waiter_wait(&one), ==, 0);
	g_assert_cmpint(waiter_wait(&two), ==, 0);
	g_assert_cmpuint(fake_reads(e->fake), ==, 3);
	content_check(c, 0, 0, 5 * CHUNK);
	content_unref(c);
	engine_free(e);
}

/* A server that ignores Range: the whole file is read once and stored, and concurrent readers of
 * other parts wait for it. */
static void test_ignored_range(void)
{
	struct engine *e = engine_new(NULL);
	struct waiter late;
	struct content *c;

	fake_file_add(e->fake, "f", 12 * CHUNK + 9);
	e->fake->ignore_range = true;
	c = engine_content(e, "f");
	fake_stall(e->fake, true, 5 * CHUNK);
	g_assert_cmpint(content_read(c, 4 * CHUNK, CHUNK, 0), ==, 0);
	waiter_init(&late);
	g_assert_cmpint(waiter_want(&late, c, 0, 12 * CHUNK + 9, 0), ==, -EINPROGRESS);
	fake_stall(e->fake, false, 0);
	g_assert_cmpint(waiter_wait(&late), ==, 0);
	content_check(c, 0, 0, 13 * CHUNK);
	fake_wait_idle(e->fake);
	g_assert_cmpuint(fake_reads(e->fake), ==, 1);
	g_assert_cmpuint(e->completed, ==, 1);
	content_unref(c);
	engine_free(e);
}

/* Two requests are under way when the server shows that it ignores Range: the second leaves its
 * part to the first. */
static void test_ignored_range_twice(void)
{
	struct engine *e = engine_new(NULL);
	struct waiter one, two;
	struct fill_counters n;
	struct content *c;

	fake_file_add(e->fake, "f", 100 * CHUNK);
	e->fake->ignore_range = true;
	c = engine_content(e, "f");
	fake_gate(e->fake, true);
	fake_stall(e->fake, true, CHUNK);
	waiter_init(&one);
	waiter_init(&two);
	g_assert_cmpint(waiter_want(&one, c, 10 * CHUNK, CHUNK, 0), ==, -EINPROGRESS);
	g_assert_cmpint(waiter_want(&two, c, 90 * CHUNK, CHUNK, 0), ==, -EINPROGRESS);
	fake_wait_reads(e->fake, 2);
	fake_gate(e->fake, false);
	do {
		g_usleep(1000);
		fill_counters(e->fill, &n);
	} while (n.transfers != 1);
	fake_stall(e->fake, false, 0);
	g_assert_cmpint(waiter_wait(&one), ==, 0);
	g_assert_cmpint(waiter_wait(&two), ==, 0);
	fake_wait_idle(e->fake);
	fill_counters(e->fill, &n);
	g_assert_cmpuint(n.bytes_fetched, ==, 100 * CHUNK);
	g_assert_cmpuint(n.errors, ==, 0);
	content_check(c, 0, 0, 100 * CHUNK);
	content_unref(c);
	engine_free(e);
}

static void want_one_chunk(struct content *c, struct waiter *w, uint64_t chunk)
{
	waiter_init(w);
	g_assert_cmpint(waiter_want(w, c, chunk * CHUNK, CHUNK, 0), ==, -EINPROGRESS);
}

static struct fill_counters counted(struct engine *e)
{
	struct fill_counters n;

	fill_counters(e->fill, &n);
	return n;
}

/* A transfer of the whole file that no reader needs any more gets two chunks again. It does not
 * hold the chunks between them, which it had released: a chunk held twice would count twice for a
 * waiter, which would be answered before its last chunk is present. */
static void test_ignored_range_unwanted(void)
{
	struct engine_options options = {.prefetch_bytes = 4 * CHUNK};
	struct engine *e = engine_new(&options);
	struct waiter one, other, between;
	struct content *c;

	fake_file_add(e->fake, "f", 20 * CHUNK);
	e->fake->ignore_range = true;
	c = engine_content(e, "f");
	fake_stall(e->fake, true, CHUNK);
	g_assert_cmpint(content_read(c, 0, CHUNK, 0), ==, 0);
	content_unref(c); /* the transfer holds a reference */
	fake_stall(e->fake, true, 8 * CHUNK);
	while (counted(e).bytes_fetched < 8 * CHUNK)
		g_usleep(1000);
	content_ref(c);
	want_one_chunk(c, &one, 14);
	while (counted(e).transfers > 1)
		g_usleep(1000);
	want_one_chunk(c, &other, 17);
	while (counted(e).transfers > 1)
		g_usleep(1000);
	fake_gate(e->fake, true);
	want_one_chunk(c, &between, 15);
	g_assert_cmpuint(counted(e).transfers, ==, 2);
	fake_gate(e->fake, false);
	fake_stall(e->fake, false, 0);
	g_assert_cmpint(waiter_wait(&one), ==, 0);
	g_assert_cmpint(waiter_wait(&other), ==, 0);
	g_assert_cmpint(waiter_wait(&between), ==, 0);
	fake_wait_idle(e->fake);
	content_check(c, 0, 14 * CHUNK, 2 * CHUNK);
	content_check(c, 0, 17 * CHUNK, CHUNK);
	content_unref(c);
	engine_free(e);
}

static void test_placed_by_source(void)
{
	struct engine *e = engine_new(NULL);
	struct content *c;

	fake_file_add(e->fake, "f", 3 * CHUNK + 1);
	e->fake->places = true;
	e->fake->piece = 100003;
	c = engine_content(e, "f");
	g_assert_cmpint(content_read(c, CHUNK, 3 * CHUNK, 0), ==, 0);
	content_check(c, 0, CHUNK, 3 * CHUNK);
	content_unref(c);
	engine_free(e);
}

static void test_empty(void)
{
	struct engine *e = engine_new(NULL);
	struct content_info info;
	struct content *c;

	fake_file_add(e->fake, "f", 0);
	c = engine_content(e, "f");
	g_assert_true(content_complete(c));
	g_assert_true(content_present(c, 0, 10));
	g_assert_cmpint(content_read(c, 0, 4096, 4096), ==, 0);
	g_assert_false(fill_prefetch(c));
	content_info(c, 8, &info);
	g_assert_true(info.complete);
	g_assert_cmpuint(info.chunks, ==, 0);
	g_assert_cmpuint(info.bar->data[7], ==, 255);
	content_info_clear(&info);
	g_assert_cmpuint(fake_reads(e->fake), ==, 0);
	content_unref(c);
	engine_free(e);
}

static void see_transfer(const struct fill_transfer_info *info, void *user)
{
	const struct fill_waiter_info *w;

	g_assert_cmpstr(info->path, ==, "f");
	g_assert_cmpuint(info->offset, ==, CHUNK);
	g_assert_cmpuint(info->length, ==, 3 * CHUNK);
	g_assert_cmpuint(info->waiters->len, ==, 1);
	w = &g_array_index(info->waiters, struct fill_waiter_info, 0);
	g_assert_cmpint(w->pid, ==, getpid());
	g_assert_cmpuint(w->offset, ==, CHUNK + 1);
	g_assert_cmpint(w->until_ns - w->since_ns, ==, INT64_C(10000000000));
	++*(unsigned *)user;
}

static void test_status(void)
{
	struct engine *e = engine_new(NULL);
	struct content_info info;
	struct content *c;
	struct waiter w;
	unsigned seen = 0;

	fake_file_add(e->fake, "f", 4 * CHUNK);
	c = engine_content(e, "f");
	fake_gate(e->fake, true);
	waiter_init(&w);
	g_assert_cmpint(waiter_want(&w, c, CHUNK + 1, 3 * CHUNK - 1, 0), ==, -EINPROGRESS);
	fill_foreach_transfer(e->fill, see_transfer, &seen);
	g_assert_cmpuint(seen, ==, 1);
	fake_gate(e->fake, false);
	g_assert_cmpint(waiter_wait(&w), ==, 0);
	content_info(c, 8, &info);
	g_assert_cmpuint(info.size, ==, 4 * CHUNK);
	g_assert_cmpuint(info.chunk_size, ==, CHUNK);
	g_assert_cmpuint(info.present, ==, 3);
	g_assert_true(info.local_file && !info.complete);
	g_assert_cmpmem(info.bar->data, 8, "\0\0\377\377\377\377\377\377", 8);
	content_info_clear(&info);
	content_info(c, 2, &info);
	g_assert_cmpuint(info.bar->data[0], ==, 127);
	content_info_clear(&info);
	content_unref(c);
	engine_free(e);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	engine_quiet();
	g_test_add_func("/fill/read", test_read);
	g_test_add_func("/fill/supplied", test_supplied);
	g_test_add_func("/fill/supplied_and_left", test_supplied_and_left);
	g_test_add_func("/fill/runs", test_runs);
	g_test_add_func("/fill/single_flight", test_single_flight);
	g_test_add_func("/fill/overlap", test_overlap);
	g_test_add_func("/fill/ignored_range", test_ignored_range);
	g_test_add_func("/fill/ignored_range_twice", test_ignored_range_twice);
	g_test_add_func("/fill/ignored_range_unwanted", test_ignored_range_unwanted);
	g_test_add_func("/fill/placed_by_source", test_placed_by_source);
	g_test_add_func("/fill/empty", test_empty);
	g_test_add_func("/fill/status", test_status);
	return g_test_run();
}
