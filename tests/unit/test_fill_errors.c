/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Waiters, chunks and versions after failures. */
#include "tests/unit/engine.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "fetch/store/disk/space.h"

#define K UINT64_C(1024)
#define CHUNK (64 * K)

static void cause_check(struct content *c, int error, const char *part)
{
	struct content_info info;

	content_info(c, 0, &info);
	g_assert_cmpint(info.error, ==, error);
	g_assert_nonnull(strstr(info.cause, part));
	g_assert_cmpint(info.error_ns, >, 0);
	content_info_clear(&info);
}

static void test_failed_first(void)
{
	struct engine *e = engine_new(NULL);
	struct fill_counters n;
	struct content *c;

	fake_file_add(e->fake, "f", 4 * CHUNK);
	c = engine_content(e, "f");
	fake_fail(e->fake, FETCH_SERVER, 1);
	g_assert_cmpint(content_read(c, 0, 10, 0), ==, EIO);
	g_assert_cmpint(content_fd(c), ==, -1); /* the failed transfer left no file */
	cause_check(c, EIO, "as ordered");
	fake_fail(e->fake, FETCH_DENIED, 1);
	g_assert_cmpint(content_read(c, 0, 10, 0), ==, EACCES);
	fill_counters(e->fill, &n);
	g_assert_cmpuint(n.errors, ==, 2);
	g_assert_cmpuint(n.waiters + n.transfers, ==, 0);
	/* the next reader tries again */
	g_assert_cmpint(content_read(c, 0, 10, 0), ==, 0);
	content_unref(c);
	engine_free(e);
}

static void test_cut_short(void)
{
	struct engine *e = engine_new(NULL);
	struct waiter one, two, rest;
	struct content *c;

	fake_file_add(e->fake, "f", 8 * CHUNK);
	c = engine_content(e, "f");
	fake_gate(e->fake, true);
	e->fake->cut_after = 3 * CHUNK + 100;
	waiter_init(&one);
	waiter_init(&two);
	waiter_init(&rest);
	g_assert_cmpint(waiter_want(&one, c, 0, 8 * CHUNK, 0), ==, -EINPROGRESS);
	g_assert_cmpint(waiter_want(&two, c, CHUNK, 2 * CHUNK, 0), ==, -EINPROGRESS);
	g_assert_cmpint(waiter_want(&rest, c, 7 * CHUNK, 1, 0), ==, -EINPROGRESS);
	fake_gate(e->fake, false);
	g_assert_cmpint(waiter_wait(&one), ==, EIO);
	g_assert_cmpint(waiter_wait(&two), ==, 0);
	g_assert_cmpint(waiter_wait(&rest), ==, EIO);
	g_assert_true(content_present(c, 0, 3 * CHUNK));
	g_assert_false(content_present(c, 3 * CHUNK, 1));
	e->fake->cut_after = 0;
	g_assert_cmpint(content_read(c, 0, 8 * CHUNK, 0), ==, 0);
	g_assert_cmpuint(fake_read_at(e->fake, 1).offset, ==, 3 * CHUNK);
	content_check(c, 0, 0, 8 * CHUNK);
	content_unref(c);
	engine_free(e);
}

/* The count of a store's use does not drift up with chunks that are never published. */
static void test_failed_chunks_take_no_space(void)
{
	struct engine *e = engine_new(NULL);
	struct space_use before, after;
	struct content *c;

	fake_file_add(e->fake, "f", 4 * CHUNK);
	c = engine_content(e, "f");
	g_assert_cmpint(content_read(c, 0, 1, 0), ==, 0);
	store_space_use(e->store, &before);
	e->fake->cut_after = 100;
	for (unsigned n = 0; n < 5; n++)
		g_assert_cmpint(content_read(c, 2 * CHUNK, 10, 0), ==, EIO);
	fake_wait_idle(e->fake);
	store_space_use(e->store, &after);
	g_assert_cmpuint(after.used, ==, before.used);
	g_assert_cmpuint(after.fetched, ==, before.fetched);
	e->fake->cut_after = 0;
	g_assert_cmpint(content_read(c, 2 * CHUNK, 10, 0), ==, 0);
	store_space_use(e->store, &after);
	g_assert_cmpuint(after.used, ==, before.used + CHUNK);
	content_unref(c);
	engine_free(e);
}

static void test_prefetch_fails_in_silence(void)
{
	struct engine *e = engine_new(NULL);
	struct fill_counters n;
	struct content *c;

	fake_file_add(e->fake, "f", CHUNK);
	c = engine_content(e, "f");
	fake_fail(e->fake, FETCH_UNREACHABLE, 1);
	g_assert_true(fill_prefetch(c));
	fake_wait_idle(e->fake);
	fill_counters(e->fill, &n);
	g_assert_cmpuint(n.errors, ==, 1);
	g_assert_true(fill_prefetch(c)); /* and released its budget */
	fake_wait_idle(e->fake);
	g_assert_true(content_complete(c));
	content_unref(c);
	engine_free(e);
}

static void test_cancel(void)
{
	struct engine *e = engine_new(NULL);
	struct waiter one, two;
	struct content *c;

	fake_file_add(e->fake, "f", CHUNK);
	c = engine_content(e, "f");
	fake_gate(e->fake, true);
	waiter_init(&one);
	waiter_init(&two);
	g_assert_false(fill_cancel(e->fill, &one.wait)); /* never wanted anything */
	g_assert_cmpint(waiter_want(&one, c, 0, 1, 0), ==, -EINPROGRESS);
	g_assert_cmpint(waiter_want(&two, c, 0, 1, 0), ==, -EINPROGRESS);
	g_assert_true(fill_cancel(e->fill, &one.wait));
	g_assert_false(fill_cancel(e->fill, &one.wait));
	fake_gate(e->fake, false);
	g_assert_cmpint(waiter_wait(&two), ==, 0);
	g_assert_false(fill_cancel(e->fill, &two.wait));
	g_assert_cmpuint(waiter_calls(&one), ==, 0);
	content_unref(c);
	engine_free(e);
}

/* Either the cancel succeeds or the call comes, never both, never neither. */
static void test_cancel_races(void)
{
	struct engine *e = engine_new(NULL);
	unsigned cancelled = 0;

	for (unsigned n = 0; n < 500; n++) {
		g_autofree char *name = g_strdup_printf("f%u", n);
		struct content *c;
		struct waiter w;

		fake_file_add(e->fake, name, 100);
		c = engine_content(e, name);
		waiter_init(&w);
		g_assert_cmpint(waiter_want(&w, c, 0, 100, 0), ==, -EINPROGRESS);
		for (unsigned spin = n % 50 * 40; spin > 0; spin--)
			__asm__ volatile("");
		if (fill_cancel(e->fill, &w.wait))
			cancelled++;
		else
			g_assert_cmpint(waiter_wait(&w), ==, 0);
		fake_wait_idle(e->fake);
		g_assert_true(content_complete(c));
		content_unref(c);
	}
	g_test_message("%u of 500 cancelled", cancelled);
	engine_free(e);
}

static void test_deadline(void)
{
	struct engine_options options = {.wait_ms = 150};
	struct engine *e = engine_new(&options);
	struct waiter one, two;
	struct content *c;
	int64_t start = clock_now();

	fake_file_add(e->fake, "f", CHUNK);
	c = engine_content(e, "f");
	fake_gate(e->fake, true);
	waiter_init(&one);
	waiter_init(&two);
	g_assert_cmpint(waiter_want(&one, c, 0, 1, 0), ==, -EINPROGRESS);
	g_usleep(100000);
	g_assert_cmpint(waiter_want(&two, c, 0, 1, 0), ==, -EINPROGRESS);
	g_assert_cmpint(waiter_wait(&one), ==, EIO);
	g_assert_cmpint(clock_now() - start, >=, 150 * 1000000);
	g_assert_cmpuint(waiter_calls(&two), ==, 0);
	g_assert_cmpint(waiter_wait(&two), ==, EIO);
	g_assert_cmpint(clock_now() - start, >=, 250 * 1000000);
	cause_check(c, EIO, "fake:f: no answer within 0.15 s");
	/* the transfer goes on */
	fake_gate(e->fake, false);
	fake_wait_idle(e->fake);
	g_assert_true(content_complete(c));
	g_assert_cmpuint(fake_reads(e->fake), ==, 1);
	content_unref(c);
	engine_free(e);
}

static void test_changed(void)
{
	struct engine *e = engine_new(NULL);
	struct content *c;

	fake_file_add(e->fake, "f", 4 * CHUNK);
	c = engine_content(e, "f");
	g_assert_cmpint(content_read(c, 0, CHUNK, 0), ==, 0);
	fake_file_change(e->fake, "f");
	g_assert_cmpint(content_read(c, CHUNK, CHUNK, 0), ==, EIO);
	g_assert_cmpuint(e->changed, ==, 1);
	g_assert_cmpint(content_read(c, 0, CHUNK, 0), ==, 0);
	content_check(c, 0, 0, CHUNK);
	content_unref(c);
	/* also after another open: a chunk of the old version is present */
	c = engine_content(e, "f");
	g_assert_cmpint(content_read(c, CHUNK, CHUNK, 0), ==, EIO);
	content_unref(c);
	engine_free(e);
}

/* A first fetch that delivered no data pins no version. */
static void test_blank_takes_new_version(void)
{
	struct engine *e = engine_new(NULL);
	struct content *c;

	fake_file_add(e->fake, "f", 4 * CHUNK);
	c = engine_content(e, "f");
	e->fake->cut_after = 10;
	g_assert_cmpint(content_read(c, 0, CHUNK, 0), ==, EIO);
	e->fake->cut_after = 0;
	fake_file_change(e->fake, "f");
	g_assert_cmpint(content_read(c, 0, CHUNK, 0), ==, EIO); /* until the last close */
	content_unref(c);
	c = engine_content(e, "f");
	g_assert_cmpint(content_read(c, 0, 4 * CHUNK, 0), ==, 0);
	content_check(c, 1, 0, 4 * CHUNK);
	content_unref(c);
	engine_free(e);
}

/* Two first requests get different versions: one wins, and no data is mixed. */
static void test_first_versions_race(void)
{
	struct engine_options options = {.threads = 1};
	struct engine *e = engine_new(&options);
	struct waiter one, two;
	struct content *c;

	fake_file_add(e->fake, "f", 4 * CHUNK);
	c = engine_content(e, "f");
	fake_gate(e->fake, true);
	fake_stall(e->fake, true, CHUNK);
	waiter_init(&one);
	waiter_init(&two);
	g_assert_cmpint(waiter_want(&one, c, 0, 2 * CHUNK, 0), ==, -EINPROGRESS);
	g_assert_cmpint(waiter_want(&two, c, 3 * CHUNK, CHUNK, 0), ==, -EINPROGRESS);
	fake_gate(e->fake, false);
	g_assert_cmpint(content_read(c, 0, CHUNK, 0), ==, 0);
	fake_file_change(e->fake, "f"); /* the first is half through, the second still waits */
	fake_stall(e->fake, false, 0);
	g_assert_cmpint(waiter_wait(&one), ==, 0);
	g_assert_cmpint(waiter_wait(&two), ==, EIO);
	g_assert_cmpuint(e->changed, ==, 1);
	content_check(c, 0, 0, 2 * CHUNK);
	g_assert_false(content_present(c, 3 * CHUNK, CHUNK));
	cause_check(c, EIO, "another version");
	content_unref(c);
	engine_free(e);
}

/* A full disk: EFBIG stands for ENOSPC, which a test cannot provoke. */
static void test_disk_full(void)
{
	struct engine *e = engine_new(NULL);
	struct rlimit before, limit;
	struct content *c;

	fake_file_add(e->fake, "f", 64 * CHUNK);
	c = engine_content(e, "f");
	g_assert_cmpint(content_read(c, 0, CHUNK, 0), ==, 0);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = 32 * CHUNK;
	setrlimit(RLIMIT_FSIZE, &limit);
	g_assert_cmpint(content_read(c, 30 * CHUNK, 4 * CHUNK, 0), ==, EFBIG);
	setrlimit(RLIMIT_FSIZE, &before);
	g_assert_true(content_present(c, 30 * CHUNK, 2 * CHUNK));
	g_assert_false(content_present(c, 32 * CHUNK, 1));
	cause_check(c, EFBIG, "File too large");
	g_assert_cmpint(content_read(c, 30 * CHUNK, 4 * CHUNK, 0), ==, 0);
	content_check(c, 0, 30 * CHUNK, 4 * CHUNK);
	content_unref(c);
	engine_free(e);
}

static void *stop_engine(void *user)
{
	engine_stop(user);
	return NULL;
}

/* Unmounting: all waiters are answered, and the closed source gets no request. */
static void test_stop(void)
{
	struct engine *e = engine_new(NULL);
	struct waiter waits[20];
	struct content *c;
	pthread_t thread;

	fake_file_add(e->fake, "f", 64 * CHUNK);
	c = engine_content(e, "f");
	fake_gate(e->fake, true);
	for (unsigned n = 0; n < 20; n++) {
		waiter_init(&waits[n]);
		g_assert_cmpint(waiter_want(&waits[n], c, n * 2 * CHUNK, CHUNK, 0), ==,
		                -EINPROGRESS);
	}
	content_unref(c);
	pthread_create(&thread, NULL, stop_engine, e);
	for (unsigned n = 0; n < 20; n++)
		g_assert_cmpint(waiter_wait(&waits[n]), ==, EIO);
	pthread_join(thread, NULL);
	g_assert_cmpuint(e->released, ==, 1);
	engine_start(e, false);
	engine_free(e);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	engine_quiet();
	g_test_add_func("/fill/failed_first", test_failed_first);
	g_test_add_func("/fill/cut_short", test_cut_short);
	g_test_add_func("/fill/failed_chunks_take_no_space", test_failed_chunks_take_no_space);
	g_test_add_func("/fill/prefetch_fails_in_silence", test_prefetch_fails_in_silence);
	g_test_add_func("/fill/cancel", test_cancel);
	g_test_add_func("/fill/cancel_races", test_cancel_races);
	g_test_add_func("/fill/deadline", test_deadline);
	g_test_add_func("/fill/changed", test_changed);
	g_test_add_func("/fill/blank_takes_new_version", test_blank_takes_new_version);
	g_test_add_func("/fill/first_versions_race", test_first_versions_race);
	g_test_add_func("/fill/disk_full", test_disk_full);
	g_test_add_func("/fill/stop", test_stop);
	return g_test_run();
}
