/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/rate.h"
#include "fetch/base/readahead.h"
#include <glib.h>

#define K UINT64_C(1024)
#define M (K * K)

/* A stream from the start: never late, never much more ahead than was read. */
static void test_sequential(void)
{
	struct readahead ra = {0};
	uint64_t edge = 0, max = 32 * M, largest = 0;
	unsigned requests = 0;

	for (uint64_t at = 0; at < 1024 * M; at += 128 * K) {
		uint64_t end = at + 128 * K, ahead = readahead_next(&ra, at, 128 * K, max);

		g_assert_cmpuint(ahead, <=, max);
		if (ahead > 0) {
			largest = MAX(largest, end + ahead - MAX(edge, end));
			g_assert_cmpuint(end + ahead, >, edge);
			edge = end + ahead;
			requests++;
		}
		g_assert_cmpuint(edge, >=, end); /* the next read is on its way */
		g_assert_cmpuint(edge - end, <=, MAX(256 * K, 3 * end));
		if (at > 64 * M)
			g_assert_cmpuint(edge - end, >=, max / 2);
	}
	g_assert_cmpuint(largest, >=, 4 * M);
	g_assert_cmpuint(requests, <, 200);
}

static void test_random(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(1);
	struct readahead ra = {0};
	uint64_t sum = 0;

	for (unsigned n = 0; n < 10000; n++) {
		uint64_t page = g_rand_int_range(rand, 1, 1 << 18);

		sum += readahead_next(&ra, page * 4096, 4096, 32 * M);
	}
	/* 10,000 pages, 40 MB, of 1 GiB: chance sequences may cost 2 % */
	g_assert_cmpuint(sum, <=, 3 * 256 * K);
}

/* A touch a MiB, and read-around of mapped files: strides are no stream. */
static void test_strides(void)
{
	struct readahead ra = {0};
	uint64_t sum = 0;

	for (unsigned n = 0; n < 200; n++)
		sum += readahead_next(&ra, n * M, 4 * K, 32 * M);
	for (unsigned n = 0; n < 200; n++)
		sum += readahead_next(&ra, n * M + 300 * K, 128 * K, 32 * M);
	g_assert_cmpuint(sum, ==, 0);
}

/* A read of a header fetches nothing ahead, a long first read does. */
static void test_first_read(void)
{
	struct readahead small = {0}, large = {0}, middle = {0};

	g_assert_cmpuint(readahead_next(&small, 0, 16 * K, 32 * M), ==, 0);
	g_assert_cmpuint(readahead_next(&small, 16 * K, 32 * K, 32 * M), ==, 256 * K);
	g_assert_cmpuint(readahead_next(&large, 0, 128 * K, 32 * M), ==, 256 * K);
	g_assert_cmpuint(readahead_next(&middle, 100 * M, 128 * K, 32 * M), ==, 0);
	g_assert_cmpuint(readahead_next(&middle, 100 * M + 128 * K, 128 * K, 32 * M), ==, 256 * K);
}

/* Several threads send the reads of one stream: pairs swapped, one left behind. */
static void test_reordered(void)
{
	struct readahead ra = {0};
	uint64_t edge = 0, end = 0;

	for (uint64_t n = 0; n < 512; n++) {
		uint64_t at = (n ^ 1) * 128 * K, ahead = readahead_next(&ra, at, 128 * K, 32 * M);

		end = MAX(end, at + 128 * K);
		edge = ahead ? MAX(edge, at + 128 * K + ahead) : edge;
		if (n > 8)
			g_assert_cmpuint(edge, >, end);
	}
	g_assert_cmpuint(ra.window, ==, 32 * M);
}

/* One jump costs some of the window, not all of it; many cost all. */
static void test_soft_reset(void)
{
	struct readahead ra = {0};

	for (uint64_t at = 0; at < 256 * M; at += M)
		readahead_next(&ra, at, M, 32 * M);
	g_assert_cmpuint(ra.window, ==, 32 * M);
	g_assert_cmpuint(readahead_next(&ra, 900 * M, 4 * K, 32 * M), ==, 0);
	g_assert_cmpuint(readahead_next(&ra, 900 * M + 4 * K, 64 * K, 32 * M), >=, 4 * M);
	for (unsigned n = 0; n < 8; n++)
		readahead_next(&ra, n * 20 * M, 4 * K, 32 * M);
	g_assert_cmpuint(ra.window, ==, 0);
}

static void test_limits(void)
{
	struct readahead ra = {0};

	for (uint64_t at = 0; at < 64 * M; at += M)
		g_assert_cmpuint(readahead_next(&ra, at, M, 0), ==, 0); /* switched off */
	ra = (struct readahead){0};
	for (uint64_t at = 0; at < 64 * M; at += M)
		g_assert_cmpuint(readahead_next(&ra, at, M, M), <=, M);
	ra = (struct readahead){.next = UINT64_MAX - M, .edge = 1};
	readahead_next(&ra, UINT64_MAX - M, 2 * M, 32 * M);
	g_assert_cmpuint(ra.next, ==, UINT64_MAX);
	g_assert_cmpuint(ra.edge, >=, ra.next);
}

/* A walk that reports each sibling: each is fetched ahead, once. */
static void test_walk(void)
{
	struct walkahead w = {0};
	uint32_t from, to, edge = 1;

	walkahead_next(&w, 0, 1000, 64, &from, &to);
	g_assert_cmpuint(from, ==, to); /* one entry is no walk */
	for (uint32_t n = 1; n < 1000; n++) {
		walkahead_next(&w, n, 1000, 64, &from, &to);
		g_assert_cmpuint(to - from, <=, 64);
		g_assert_cmpuint(to, <=, 1000);
		if (from < to) {
			g_assert_cmpuint(from, ==, MAX(edge, n + 1));
			edge = to;
		}
		g_assert_cmpuint(edge, >=, MIN(n + 1, 999));
	}
	g_assert_cmpuint(edge, ==, 1000);
	g_assert_cmpuint(w.window, ==, 64);
}

/* A walk that reports only misses, and skips some entries. */
static void test_walk_misses(void)
{
	struct walkahead w = {0};
	uint32_t from, to, edge = 0, calls = 0;

	for (uint32_t n = 0; n < 2000; n += 3) {
		if (n < edge)
			continue;
		walkahead_next(&w, n, 2000, 64, &from, &to);
		edge = MAX(to, n + 1);
		calls++;
	}
	g_assert_cmpuint(calls, <, 2000 / 64 + 10);
}

static void test_walk_random(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(2);
	struct walkahead w = {0};
	uint32_t from, to, sum = 0;

	for (unsigned n = 0; n < 1000; n++) {
		walkahead_next(&w, g_rand_int_range(rand, 0, 100000), 100000, 64, &from, &to);
		sum += to - from;
	}
	g_assert_cmpuint(sum, <, 20);
	walkahead_next(&w, UINT32_MAX, 5, 64, &from, &to); /* not an entry at all */
	g_assert_cmpuint(from, ==, to);
}

#define S INT64_C(1000000000)

static void test_rate(void)
{
	struct rate r = {0};

	g_assert_cmpuint(rate_within(&r, 5 * S), ==, UINT64_MAX);
	rate_start(&r, 10 * S);
	rate_add(&r, 64 * K, 10 * S + S / 10);
	rate_stop(&r, 10 * S + S / 10); /* a round trip is no sample */
	g_assert_cmpuint(rate_within(&r, 5 * S), ==, UINT64_MAX);
	rate_start(&r, 20 * S);
	for (unsigned n = 1; n <= 40; n++)
		rate_add(&r, 25 * K, 20 * S + n * S / 4);
	g_assert_cmpuint(rate_within(&r, 5 * S), >=, 480 * K);
	g_assert_cmpuint(rate_within(&r, 5 * S), <=, 520 * K);
	for (unsigned n = 41; n <= 80; n++) /* it becomes a thousand times faster, */
		rate_add(&r, 25 * M, 20 * S + n * S / 4);
	g_assert_cmpuint(rate_within(&r, 5 * S), >=, 450 * M);
	rate_stop(&r, 41 * S);
	rate_start(&r, 1000 * S); /* pauses do not count, */
	rate_add(&r, 100 * M, 1001 * S);
	g_assert_cmpuint(rate_within(&r, 5 * S), >=, 300 * M);
	rate_stop(&r, 1060 * S); /* stalls do */
	rate_start(&r, 1100 * S);
	rate_stop(&r, 1160 * S);
	g_assert_cmpuint(rate_within(&r, 5 * S), <=, 150 * M);
	for (unsigned n = 0; n < 100; n++) {
		rate_start(&r, 2000 * S);
		rate_stop(&r, 2060 * S);
	}
	g_assert_cmpuint(rate_within(&r, 5 * S), >, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/readahead/sequential", test_sequential);
	g_test_add_func("/readahead/random", test_random);
	g_test_add_func("/readahead/strides", test_strides);
	g_test_add_func("/readahead/first_read", test_first_read);
	g_test_add_func("/readahead/reordered", test_reordered);
	g_test_add_func("/readahead/soft_reset", test_soft_reset);
	g_test_add_func("/readahead/limits", test_limits);
	g_test_add_func("/walkahead/walk", test_walk);
	g_test_add_func("/walkahead/misses", test_walk_misses);
	g_test_add_func("/walkahead/random", test_walk_random);
	g_test_add_func("/rate/samples", test_rate);
	return g_test_run();
}
