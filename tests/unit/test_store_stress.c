/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Many threads on one store: chunks seen as present have the right data. For the thread sanitizer
 * above all. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include "tests/unit/store_box.h"

#define CHUNKS 200
#define SIZE (CHUNKS * 4096 - 1)
#define WRITERS 3

struct shared {
	struct box *box;
	struct store_file *file;
	unsigned number, part;
	bool verify;
};

static void check_chunk(struct store_file *f, unsigned file, uint64_t chunk)
{
	uint8_t bytes[64];
	uint64_t offset = chunk * 4096;

	g_assert_cmpint(pread(store_file_fd(f), bytes, sizeof bytes, (off_t)offset), ==,
	                sizeof bytes);
	for (unsigned i = 0; i < sizeof bytes; i++)
		g_assert_cmpuint(bytes[i], ==, box_byte(file, offset + i));
}

static void *write_chunks(void *arg)
{
	struct shared *s = arg;

	for (uint64_t k = s->part; k < CHUNKS; k += WRITERS) {
		int err = s->verify ? store_file_verify(s->file, k) : -ESTALE;

		if (err == -ESTALE)
			err = box_publish(s->file, s->number, k);
		g_assert_cmpint(err, ==, 0);
		g_assert_true(store_file_present(s->file, k, k));
	}
	return NULL;
}

static void *read_chunks(void *arg)
{
	struct shared *s = arg;
	unsigned seed = 1 + s->part;

	while (!store_file_complete(s->file)) {
		uint64_t k = (uint64_t)rand_r(&seed) % CHUNKS;

		store_file_chunks_present(s->file);
		store_file_doubtful(s->file, k);
		if (store_file_present(s->file, k, k))
			check_chunk(s->file, s->number, k);
	}
	for (uint64_t k = 0; k < CHUNKS; k++)
		check_chunk(s->file, s->number, k);
	return NULL;
}

static void run(struct box *b, struct store_file *f, unsigned number, bool verify)
{
	struct shared shared[WRITERS + 2];
	pthread_t threads[WRITERS + 2];

	for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
		shared[i] = (struct shared){b, f, number, i % WRITERS, verify};
		pthread_create(&threads[i], NULL, i < WRITERS ? write_chunks : read_chunks,
		               &shared[i]);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
		pthread_join(threads[i], NULL);
	g_assert_true(store_file_complete(f));
}

static void test_one_file(void)
{
	struct box b;

	box_new(&b);
	for (unsigned round = 0; round < 8; round++) {
		g_autofree char *path = g_strdup_printf("d/f%u", round);
		struct store_file *f = box_create(&b, path, round, SIZE);
		struct store_probe probe;

		run(&b, f, round, false);
		/* whole on disk by the time it is whole for anybody */
		g_assert_cmpint(store_probe(b.store, path, 1000 + round, &probe), ==, 0);
		g_assert_true(probe.complete);
		store_file_close(f);
	}
	box_free(&b);
}

static void test_verify(void)
{
	struct box b;

	box_new(&b);
	for (unsigned round = 0; round < 8; round++) {
		g_autofree char *path = g_strdup_printf("f%u", round);
		struct store_file *f = box_create(&b, path, round, SIZE);
		struct store_probe probe;

		box_fill(f, round, 0, CHUNKS - 1 - round * 10);
		g_assert_cmpint(pwrite(store_file_fd(f), "lost", 4, round * 5000), ==, 4);
		store_file_close(f);
		box_crash(&b);
		box_reboot(&b);
		box_open(&b);
		g_assert_cmpint(store_file_open(b.store, path, 1000 + round, &f), ==, 0);
		run(&b, f, round, true);
		g_assert_cmpint(store_probe(b.store, path, 1000 + round, &probe), ==, 0);
		g_assert_true(probe.complete);
		store_file_close(f);
	}
	box_free(&b);
}

/* Every thread makes and opens files in the same directories, the very first ones too. */
static void *make_files(void *arg)
{
	struct shared *s = arg;

	for (unsigned i = 0; i < 60; i++) {
		unsigned number = 1 + s->part * 60 + i;
		g_autofree char *path = g_strdup_printf("a/b%u/c%u", i % 5, number);
		g_autoptr(GBytes) bytes = g_bytes_new(path, 5);
		struct store_origin o = box_origin(number, i % 2 ? 5000 : 100);
		struct store_file *f = NULL;

		o.nlink = 1 + i % 3;
		g_assert_cmpint(store_file_create(s->box->store, path, &o, &f), ==, 0);
		box_fill(f, number, 0, store_file_chunks(f) - 1);
		store_file_close(f);
		g_assert_cmpint(store_listing_save(s->box->store, i, bytes), ==, 0);
		g_bytes_unref(store_listing_load(s->box->store, i));
		f = box_open_file(s->box, path, number);
		g_assert_true(store_file_complete(f));
		store_file_close(f);
		if (o.nlink > 1) {
			g_autofree char *other = g_strconcat(path, "-other", NULL);

			store_file_close(box_open_file(s->box, other, number));
		}
	}
	return NULL;
}

static void test_many_files(void)
{
	struct box b;
	struct shared shared[4];
	pthread_t threads[4];

	box_new(&b);
	for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
		shared[i] = (struct shared){.box = &b, .part = i};
		pthread_create(&threads[i], NULL, make_files, &shared[i]);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
		pthread_join(threads[i], NULL);
	box_free(&b);
}

static void *fill_file(void *arg)
{
	struct shared *s = arg;

	box_fill(s->file, s->number, 0, store_file_chunks(s->file) - 1);
	return NULL;
}

/* A time that was set stays, whatever transfer is under way: on the file, and in memory. */
static void test_times(void)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {1, 234}};
	struct box b;

	box_new(&b);
	for (unsigned n = 0; n < 400; n++) {
		g_autofree char *path = g_strdup_printf("f%u", n);
		const struct store_origin origin = box_origin(n, n % 2 ? 100 : 5000);
		const struct store_kept kept = {.remote = path, .nlink = 1, .origin = &origin};
		struct store_file *f = box_create(&b, path, n, origin.size);
		struct shared shared = {&b, f, n, 0, false};
		pthread_t filler;
		struct stat st;

		g_assert_cmpint(store_file_keep(f, path, &kept), ==, 0);
		pthread_create(&filler, NULL, fill_file, &shared);
		g_usleep(n % 40 * 10);
		g_assert_cmpint(store_file_utimens(f, times), ==, 0);
		pthread_join(filler, NULL);
		g_assert_true(store_file_complete(f));
		g_assert_cmpint(fstat(store_file_fd(f), &st), ==, 0);
		g_assert_cmpint(st.st_mtim.tv_sec, ==, 1);
		g_assert_cmpint(st.st_mtim.tv_nsec, ==, 234);
		store_file_close(f);
	}
	box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/stress/one-file", test_one_file);
	g_test_add_func("/stress/verify", test_verify);
	g_test_add_func("/stress/many-files", test_many_files);
	g_test_add_func("/stress/times", test_times);
	return g_test_run();
}
