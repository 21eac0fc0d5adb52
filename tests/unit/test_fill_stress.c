/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Everything at once, seeded: several threads read, read ahead, prefetch, cancel and open
 * files of a source that cuts every few answers short, and every byte that is called present
 * is compared. FILL_STRESS_SECONDS and FILL_STRESS_SEED repeat a run or make it longer. */
#include "tests/unit/engine.h"
#include <errno.h>
#include <stdlib.h>

#define FILES 12
#define THREADS 6

struct stress {
	struct engine *engine;
	pthread_mutex_t lock;
	struct content *contents[FILES]; /* without a reference; NULL: not open */
	uint64_t sizes[FILES];
	int64_t until_ns;
	unsigned seed;
	uint64_t reads, failed, cancelled; /* atomic */
};

struct worker {
	struct stress *stress;
	unsigned number;
};

/* As the inode table does it: one content a file at a time. */
static struct content *stress_open(struct stress *s, unsigned file)
{
	g_autofree char *path = g_strdup_printf("d/f%u", file);
	struct content *c;

	pthread_mutex_lock(&s->lock);
	c = s->contents[file];
	if (c == NULL || !content_try_ref(c))
		c = s->contents[file] = engine_content(s->engine, path);
	pthread_mutex_unlock(&s->lock);
	g_assert_cmpint(content_open(c), ==, 0);
	return c;
}

static void stress_forget(void *user, struct content *c)
{
	struct stress *s = user;

	pthread_mutex_lock(&s->lock);
	for (unsigned n = 0; n < FILES; n++)
		if (s->contents[n] == c)
			s->contents[n] = NULL;
	pthread_mutex_unlock(&s->lock);
}

static void stress_read(struct stress *s, struct content *c, GRand *rand)
{
	uint64_t size = content_size(c), offset = g_rand_double(rand) * size;
	uint64_t length = 1 + g_rand_int_range(rand, 0, 60000);
	uint64_t ahead = g_rand_int_range(rand, 0, 8) ? 0 : g_rand_int_range(rand, 0, 1000000);
	struct waiter w;
	int result;

	waiter_init(&w);
	result = waiter_want(&w, c, offset, length, ahead);
	if (result == -EINPROGRESS && g_rand_int_range(rand, 0, 8) == 0 &&
	    fill_cancel(s->engine->fill, &w.wait)) {
		__atomic_add_fetch(&s->cancelled, 1, __ATOMIC_RELAXED);
		return;
	}
	if (result == -EINPROGRESS)
		result = -waiter_wait(&w);
	__atomic_add_fetch(&s->reads, 1, __ATOMIC_RELAXED);
	if (result == 0) {
		g_assert_true(content_present(c, offset, length));
		content_check(c, 0, offset, length);
	} else {
		g_assert_cmpint(result, ==, -EIO); /* cut short */
		__atomic_add_fetch(&s->failed, 1, __ATOMIC_RELAXED);
	}
}

static void *stress_work(void *user)
{
	struct worker *w = user;
	struct stress *s = w->stress;
	g_autoptr(GRand) rand = g_rand_new_with_seed(s->seed * THREADS + w->number);

	while (clock_now() < s->until_ns) {
		unsigned file = g_rand_int_range(rand, 0, FILES);
		struct content *c = stress_open(s, file);

		if (g_rand_int_range(rand, 0, 50) == 0)
			fill_prefetch(c);
		for (unsigned n = g_rand_int_range(rand, 1, 6); n > 0; n--)
			stress_read(s, c, rand);
		content_unref(c);
	}
	return NULL;
}

static void stress_run(struct stress *s, unsigned seconds)
{
	struct worker workers[THREADS];
	pthread_t threads[THREADS];

	s->until_ns = clock_now() + (int64_t)(seconds * 1e9 / 4);
	for (unsigned n = 0; n < THREADS; n++) {
		workers[n] = (struct worker){s, n};
		pthread_create(&threads[n], NULL, stress_work, &workers[n]);
	}
	for (unsigned n = 0; n < THREADS; n++)
		pthread_join(threads[n], NULL);
}

static void test_stress(void)
{
	struct engine_options options = {
	        .threads = 4, .chunk_shift = 12, .prefetch_bytes = 1 << 21};
	const char *seconds = getenv("FILL_STRESS_SECONDS"), *seed = getenv("FILL_STRESS_SEED");
	struct stress s = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct fill_counters n;

	s.seed = seed ? strtoul(seed, NULL, 0) : g_random_int();
	g_test_message("FILL_STRESS_SEED=%u", s.seed);
	s.engine = engine_new(&options);
	s.engine->release = stress_forget;
	s.engine->user = &s;
	for (unsigned epoch = 0; epoch < 4; epoch++) {
		struct fake_source *fake = s.engine->fake;

		for (unsigned file = 0; file < FILES; file++) {
			g_autofree char *path = g_strdup_printf("d/f%u", file);

			fake_file_add(fake, path, (s.seed + file * 7919) % 997 * 40099 + 1);
		}
		fake->fail_one_in = 5;
		fake->random = s.seed + epoch;
		fake->piece = 3001 + epoch * 10000;
		fake->ignore_range = epoch == 1;
		fake->places = epoch == 3;
		stress_run(&s, seconds ? strtoul(seconds, NULL, 0) : 4);
		do {
			g_usleep(1000);
			fill_counters(s.engine->fill, &n);
			g_assert_cmpuint(n.waiters, ==, 0);
		} while (n.transfers > 0); /* read-ahead */
		g_test_message("requests %lu, chunks %lu, verified %lu", n.requests,
		               n.chunks_fetched, n.chunks_verified);
		engine_stop(s.engine);
		engine_start(s.engine, epoch % 2 == 0);
	}
	g_test_message("%lu reads, %lu failed, %lu cancelled", s.reads, s.failed, s.cancelled);
	g_assert_cmpuint(s.reads, >, 0);
	engine_free(s.engine);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	engine_quiet();
	g_test_add_func("/fill/stress", test_stress);
	return g_test_run();
}
