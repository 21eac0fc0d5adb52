/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One local file with several opens, and evictions beside them. Present chunks have the right data.
 */
#include <errno.h>
#include <pthread.h>
#include <unistd.h>
#include "tests/unit/store_box.h"

#define CHUNKS 200
#define SIZE (CHUNKS * 4096 - 1)
#define WRITERS 3
#define NUMBER 7

struct worker {
	struct box *box;
	struct store_file *file;
	unsigned pause; /* µs */
};

static void test_one_object(void)
{
	struct box b;
	uint64_t freed = 0;

	box_new(&b);
	struct store_file *f = box_create(&b, "f", NUMBER, SIZE);
	box_fill(f, NUMBER, 0, 9);
	struct store_file *other = box_open_file(&b, "f", NUMBER);
	g_assert_true(other == f);
	g_assert_true(store_file_shared(f));
	box_fill(other, NUMBER, 10, 19);
	g_assert_cmpuint(store_file_chunks_present(f), ==, 20);
	g_assert_cmpint(store_file_evict(f, &freed), ==, -EBUSY);
	g_assert_cmpuint(freed, ==, 0);
	box_check(f, NUMBER);
	store_file_close(other);
	g_assert_false(store_file_shared(f));
	g_assert_cmpint(store_file_evict(f, &freed), ==, 0);
	g_assert_cmpuint(freed, ==, 20 * 4096);
	g_assert_cmpuint(store_file_chunks_present(f), ==, 0);
	store_file_close(f);
	box_free(&b);
}

/* The kernel gets a descriptor of a whole file. */
static void test_readonly(void)
{
	struct box b;
	uint64_t freed = 0;

	box_new(&b);
	struct store_file *f = box_create(&b, "f", NUMBER, SIZE);
	box_fill(f, NUMBER, 0, CHUNKS - 1);
	int fd = store_open_readonly(b.store, "f", 1000 + NUMBER);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(store_file_evict(f, &freed), ==, -EBUSY);
	g_assert_true(store_file_complete(f));
	close(fd);
	g_assert_cmpint(store_file_evict(f, &freed), ==, 0);
	g_assert_cmpint(store_open_readonly(b.store, "f", 1000 + NUMBER), ==, -ENOENT);
	store_file_close(f);
	box_free(&b);
}

/* A holder of present chunks needs no descriptor. */
static void test_visited(void)
{
	struct box b;
	uint64_t freed = 0;

	box_new(&b);
	struct store_file *f = box_create(&b, "f", NUMBER, SIZE);
	box_fill(f, NUMBER, 0, 9);
	uint64_t number = store_file_number(f);
	store_file_close(f);
	g_assert_true(store_visit(b.store, number));
	g_assert_true(store_visit(b.store, number));
	f = box_open_file(&b, "f", NUMBER);
	g_assert_true(store_file_visited(f));
	g_assert_false(store_file_shared(f));
	g_assert_cmpint(store_file_evict(f, &freed), ==, -EBUSY);
	store_visit_end(b.store, number);
	g_assert_cmpint(store_file_evict(f, &freed), ==, -EBUSY);
	g_assert_cmpuint(store_file_chunks_present(f), ==, 10);
	store_visit_end(b.store, number);
	g_assert_false(store_file_visited(f));
	g_assert_cmpint(store_file_evict(f, &freed), ==, 0);
	g_assert_cmpuint(freed, ==, 10 * 4096);
	store_file_close(f);
	box_free(&b);
}

static void *publish_most(void *arg)
{
	struct worker *w = arg;

	for (uint64_t k = 0; k < CHUNKS - 1; k++)
		g_assert_cmpint(box_publish(w->file, NUMBER, k), ==, 0);
	store_file_close(w->file);
	return NULL;
}

/* Several opens publish the same chunks: each is counted once. */
static void test_published_twice(void)
{
	struct box b;

	box_new(&b);
	for (unsigned round = 0; round < 20; round++) {
		g_autofree char *path = g_strdup_printf("f%u", round);
		struct store_file *f = box_create(&b, path, NUMBER, SIZE);
		struct worker workers[WRITERS];
		pthread_t threads[WRITERS];
		struct store_probe probe;

		box_fill(f, NUMBER, 0, 0);
		for (unsigned i = 0; i < WRITERS; i++) {
			workers[i] = (struct worker){.file = box_open_file(&b, path, NUMBER)};
			pthread_create(&threads[i], NULL, publish_most, &workers[i]);
		}
		for (unsigned i = 0; i < WRITERS; i++)
			pthread_join(threads[i], NULL);
		g_assert_cmpuint(store_file_chunks_present(f), ==, CHUNKS - 1);
		g_assert_cmpint(store_probe(b.store, path, 1000 + NUMBER, &probe), ==, 0);
		g_assert_false(probe.complete);
		box_fill(f, NUMBER, CHUNKS - 1, CHUNKS - 1);
		g_assert_cmpint(store_probe(b.store, path, 1000 + NUMBER, &probe), ==, 0);
		g_assert_true(probe.complete);
		store_file_close(f);
	}
	box_free(&b);
}

static void *open_and_look(void *arg)
{
	struct worker *w = arg;

	g_usleep(w->pause);
	struct store_file *f = box_open_file(w->box, "f", NUMBER);
	box_check(f, NUMBER);
	store_file_close(f);
	return NULL;
}

/* A whole file is not open for writing. */
static void fill_absent(struct store_file *f, uint64_t last)
{
	for (uint64_t k = 0; k <= last; k++)
		if (!store_file_present(f, k, k))
			box_fill(f, NUMBER, k, k);
}

/* A file opened during its eviction shows no chunk that is about to go. */
static void test_opened_while_evicted(void)
{
	struct box b;
	struct worker w = {.box = &b};
	unsigned evicted = 0;

	box_new(&b);
	box_fill(w.file = box_create(&b, "f", NUMBER, SIZE), NUMBER, 0, 0);
	store_file_close(w.file);
	for (unsigned n = 0; n < 100; n++) {
		struct store_file *f = box_open_file(&b, "f", NUMBER);
		uint64_t freed = 0;
		pthread_t thread;

		fill_absent(f, CHUNKS - 1 - n % 2);
		w.pause = n * 7;
		pthread_create(&thread, NULL, open_and_look, &w);
		int err = store_file_evict(f, &freed);
		g_assert_true(err == 0 || err == -EBUSY);
		evicted += err == 0;
		pthread_join(thread, NULL);
		box_check(f, NUMBER);
		store_file_close(f);
	}
	g_test_message("evicted %u times", evicted);
	g_assert_cmpuint(evicted, >, 0);
	box_free(&b);
}

static void *verify_all(void *arg)
{
	struct worker *w = arg;

	for (uint64_t k = 0; k < CHUNKS; k++) {
		int err = store_file_verify(w->file, k);

		g_assert_true(err == 0 || err == -ESTALE);
	}
	return NULL;
}

/* A chunk is read before it is marked as verified. */
static void test_verified_while_evicted(void)
{
	struct box b;

	box_new(&b);
	for (unsigned round = 0; round < 20; round++) {
		g_autofree char *path = g_strdup_printf("f%u", round);
		struct worker w = {.box = &b};
		uint64_t freed = 0;
		pthread_t thread;

		box_fill(w.file = box_create(&b, path, NUMBER, SIZE), NUMBER, 0, CHUNKS - 1);
		store_file_close(w.file);
		box_crash(&b);
		box_reboot(&b);
		box_open(&b);
		w.file = box_open_file(&b, path, NUMBER);
		g_assert_cmpuint(store_file_doubts(w.file), ==, CHUNKS);
		pthread_create(&thread, NULL, verify_all, &w);
		while (store_file_doubts(w.file) == CHUNKS)
			;
		g_assert_cmpint(store_file_evict(w.file, &freed), ==, 0);
		pthread_join(thread, NULL);
		box_check(w.file, NUMBER);
		g_assert_cmpuint(store_file_doubts(w.file), ==, 0);
		g_assert_cmpuint(store_file_chunks_present(w.file), ==, 0);
		store_file_close(w.file);
	}
	box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/shared/one-object", test_one_object);
	g_test_add_func("/shared/visited", test_visited);
	g_test_add_func("/shared/readonly", test_readonly);
	g_test_add_func("/shared/published-twice", test_published_twice);
	g_test_add_func("/shared/opened-while-evicted", test_opened_while_evicted);
	g_test_add_func("/shared/verified-while-evicted", test_verified_while_evicted);
	return g_test_run();
}
