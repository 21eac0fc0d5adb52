/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/store/object/map.h"
#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>

/* Against a plain array of states, for many sizes. */
static void test_model(void)
{
	enum { ABSENT, PRESENT, DOUBTFUL };

	for (uint64_t chunks = 1; chunks < 300; chunks += 1 + chunks / 9) {
		g_autofree char *model = g_malloc0(chunks);
		uint64_t present = 0, doubtful = 0;
		struct map m;

		g_assert_cmpint(map_init(&m, chunks), ==, 0);
		for (uint64_t k = 0; k < chunks; k++) {
			if (g_test_rand_int_range(0, 4) == 0) {
				g_assert_cmpint(map_doubt(&m, k), ==, 0);
				model[k] = DOUBTFUL;
			}
		}
		for (unsigned step = 0; step < 400; step++) {
			uint64_t k = (uint64_t)g_test_rand_int() % chunks;
			uint64_t l = k + (uint64_t)g_test_rand_int() % (chunks - k);
			bool all = true;

			if (step % 3 == 0 || model[k] == PRESENT) {
				map_set_present(&m, k);
				model[k] = PRESENT;
			} else if (model[k] == DOUBTFUL) {
				map_set_absent(&m, k);
				model[k] = ABSENT;
			}
			for (uint64_t i = k; i <= l; i++)
				all &= model[i] == PRESENT;
			g_assert_true(map_is_present(&m, k, l) == all);
		}
		for (uint64_t k = 0; k < chunks; k++) {
			present += model[k] == PRESENT;
			doubtful += model[k] == DOUBTFUL;
			g_assert_true(map_is_doubtful(&m, k) == (model[k] == DOUBTFUL));
		}
		g_assert_cmpuint(m.present, ==, present);
		g_assert_cmpuint(m.doubtful, ==, doubtful);
		g_assert_true(map_is_full(&m) == (present == chunks));
		map_clear(&m);
	}
}

static void test_bounds(void)
{
	struct map m;

	g_assert_cmpint(map_init(&m, 0), ==, 0);
	g_assert_true(map_is_full(&m));
	map_clear(&m);
	g_assert_cmpint(map_init(&m, 65), ==, 0);
	g_assert_false(map_is_present(&m, 64, 65));
	g_assert_false(map_is_present(&m, 3, 2));
	g_assert_false(map_is_doubtful(&m, 1000));
	map_clear(&m);
	g_assert_cmpint(map_init(&m, 1000), ==, 0);
	map_fill(&m);
	g_assert_true(map_is_present(&m, 0, 999));
	map_set_present(&m, 999); /* the bits are freed now */
	g_assert_cmpuint(m.present, ==, 1000);
	map_clear(&m);
}

/* Functions that count and skip by words, against a plain array. */
static void test_ranges(void)
{
	for (uint64_t chunks = 1; chunks < 500; chunks += 1 + chunks / 5) {
		g_autofree char *here =
		        g_malloc0(chunks + 1); /* 1: present, 2: doubtful, 3: local */
		uint64_t own_from = chunks, total = 0;
		struct map m;

		g_assert_cmpint(map_init(&m, chunks), ==, 0);
		for (uint64_t k = 0; k < chunks; k++) {
			int state = g_test_rand_int_range(-6, 3);

			here[k] = (char)MAX(state, 0);
			if (here[k] == 2)
				g_assert_cmpint(map_doubt(&m, k), ==, 0);
			else if (here[k] == 1)
				map_set_present(&m, k);
		}
		for (int step = 0; step < 60; step++) {
			uint64_t from = (uint64_t)g_test_rand_int() % (chunks + 1), count = 0,
			         next = from;
			uint64_t to = from + (uint64_t)g_test_rand_int() % (chunks + 1 - from);

			for (uint64_t k = from; k < to; k++)
				count += here[k] & 1;
			while (next < chunks && here[next] == 0)
				next++;
			g_assert_cmpuint(map_count_present(&m, from, to), ==, count);
			g_assert_cmpuint(map_next(&m, from), ==, next);
			if (step % 20 != 19)
				continue;
			own_from = (uint64_t)g_test_rand_int() % (own_from + 1);
			map_own_from(&m, own_from);
			memset(here + own_from, 3, chunks - own_from);
		}
		for (uint64_t k = 0; k < chunks; k++) {
			total += here[k] & 1;
			g_assert_true(map_is_local(&m, k) == (here[k] == 3));
			g_assert_true(map_is_present(&m, k, k) == (here[k] & 1));
			g_assert_true(map_is_doubtful(&m, k) == (here[k] == 2));
		}
		g_assert_cmpuint(m.present, ==, total);
		map_clear(&m);
	}
}

#define SHARED 20000
static struct map shared;
static uint32_t
        data[SHARED]; /* the data that the bits cover; written before them, not atomically */

static void *publish(void *arg)
{
	for (uint64_t k = (uintptr_t)arg; k < SHARED; k += 3) {
		data[k] = (uint32_t)k + 1;
		map_set_present(&shared, k);
	}
	return NULL;
}

static void *look(void *arg)
{
	unsigned *seen = arg;

	while (!map_is_full(&shared)) {
		uint64_t k = (uint64_t)rand_r(seen) % (SHARED - 70);

		if (map_is_present(&shared, k, k + 69))
			for (uint64_t i = k; i < k + 70; i++)
				g_assert_cmpuint(data[i], ==, i + 1);
		else if (map_is_present(&shared, k, k))
			g_assert_cmpuint(data[k], ==, k + 1);
	}
	for (uint64_t k = 0; k < SHARED; k++)
		g_assert_cmpuint(data[k], ==, k + 1);
	return NULL;
}

/* Data that a reader sees through a bit was written before it; also for the thread sanitizer. */
static void test_readers(void)
{
	unsigned seeds[2] = {1, 2};
	pthread_t threads[5];

	g_assert_cmpint(map_init(&shared, SHARED), ==, 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, look, &seeds[i]);
	for (uintptr_t i = 0; i < 3; i++)
		pthread_create(&threads[2 + i], NULL, publish, (void *)i);
	for (unsigned i = 0; i < 5; i++)
		pthread_join(threads[i], NULL);
	g_assert_cmpuint(shared.present, ==, SHARED);
	map_clear(&shared);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/map/model", test_model);
	g_test_add_func("/map/bounds", test_bounds);
	g_test_add_func("/map/ranges", test_ranges);
	g_test_add_func("/map/readers", test_readers);
	return g_test_run();
}
