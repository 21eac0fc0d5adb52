/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The life of a local file. Chunks are of 4 KiB. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <xxhash.h>
#include "tests/unit/store_box.h"

static int open_error(struct box *b, const char *path, unsigned file)
{
	struct store_file *f = NULL;
	int err = store_file_open(b->store, path, 1000 + file, &f);

	g_assert_true((err == 0) == (f != NULL));
	if (f)
		store_file_close(f);
	return err;
}

static void check_local(struct box *b, const char *path, unsigned file, uint64_t size)
{
	g_autofree char *local = box_tree(b, path);
	struct stat st;
	int fd = store_open_readonly(b->store, path, 1000 + file);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(fcntl(fd, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
	close(fd);
	g_assert_cmpint(stat(local, &st), ==, 0);
	g_assert_cmpuint(st.st_size, ==, size);
	g_assert_cmpuint(st.st_mode & 07777, ==, 0640);
	g_assert_cmpint(st.st_mtim.tv_sec, ==, 1600000000);
	g_assert_cmpint(st.st_mtim.tv_nsec, ==, 123456789 + file);
}

static void test_single(void)
{
	static const uint64_t sizes[] = {1, 7, 4095, 4096};
	struct box b;

	box_new(&b);
	for (unsigned n = 0; n < G_N_ELEMENTS(sizes); n++) {
		g_autofree char *path = g_strdup_printf("a/b%u/f", n);
		g_autofree char *local = box_tree(&b, path);
		struct store_file *f = box_create(&b, path, n, sizes[n]);
		struct store_probe probe;

		g_assert_cmpuint(store_file_chunks(f), ==, 1);
		g_assert_cmpuint(store_file_size(f), ==, sizes[n]);
		g_assert_cmpuint(store_file_version(f), ==, 7000 + n);
		g_assert_cmpuint(store_file_chunk_shift(f), ==, 12);
		g_assert_false(store_file_present(f, 0, 0));
		g_assert_false(store_file_complete(f));
		g_assert_false(box_exists(local)); /* a file without a chunk does not exist */
		g_assert_cmpint(store_file_publish(f, 1, 5), ==, -EINVAL);
		box_fill(f, n, 0, 0);
		g_assert_true(store_file_complete(f));
		g_assert_cmpuint(store_file_chunks_present(f), ==, 1);
		check_local(&b, path, n, sizes[n]);
		store_file_close(f);
		g_assert_cmpint(store_probe(b.store, path, 1000 + n, &probe), ==, 0);
		g_assert_true(probe.complete);
		g_assert_cmpuint(probe.size, ==, sizes[n]);
		g_assert_cmpuint(probe.version, ==, 7000 + n);
		g_assert_cmpint(probe.mtime_ns, ==, INT64_C(1600000000123456789) + n);
	}
	box_close(&b);
	box_open(&b);
	for (unsigned n = 0; n < G_N_ELEMENTS(sizes); n++) {
		g_autofree char *path = g_strdup_printf("a/b%u/f", n);
		struct store_file *f = box_open_file(&b, path, n);

		g_assert_true(store_file_complete(f));
		g_assert_cmpint(store_file_publish(f, 0, 1), ==, 0); /* it is present already */
		box_check(f, n);
		store_file_close(f);
	}
	box_free(&b);
}

/* All at once, or in any order over several sessions. */
static void test_several(void)
{
	static const uint64_t sizes[] = {4097, 8192, 65 * 4096, 64 * 4096, 300 * 4096 + 5};
	struct box b;

	box_new(&b);
	for (unsigned n = 0; n < G_N_ELEMENTS(sizes); n++) {
		uint64_t chunks = (sizes[n] - 1) / 4096 + 1;
		g_autofree char *path = g_strdup_printf("f%u", n);
		g_autofree char *local = box_tree(&b, path);
		struct store_file *f = box_create(&b, path, n, sizes[n]);
		struct store_probe probe;

		g_assert_cmpuint(store_file_chunks(f), ==, chunks);
		g_assert_false(box_exists(local));
		box_fill(f, n, chunks - 1, chunks - 1);
		g_assert_true(box_exists(local));
		for (uint64_t k = 0; k + 1 < chunks; k++) {
			g_assert_false(store_file_present(f, k, k));
			g_assert_false(store_file_complete(f));
			g_assert_cmpint(store_open_readonly(b.store, path, 1000 + n), ==, -ENOENT);
			box_fill(f, n, k, k);
			g_assert_true(store_file_present(f, 0, k));
			if (k % 37)
				continue;
			g_assert_cmpint(store_probe(b.store, path, 1000 + n, &probe), ==, 0);
			g_assert_true(probe.complete == (k + 2 == chunks));
			store_file_close(f);
			box_close(&b);
			box_open(&b);
			f = box_open_file(&b, path, n);
			g_assert_cmpuint(store_file_chunks_present(f), ==, k + 2);
			g_assert_cmpuint(store_file_version(f), ==, 7000 + n);
		}
		g_assert_true(store_file_complete(f));
		box_check(f, n);
		store_file_close(f);
		check_local(&b, path, n, sizes[n]);
		f = box_open_file(&b, path, n);
		g_assert_cmpuint(store_file_chunks_present(f), ==, chunks);
		store_file_close(f);
	}
	box_free(&b);
}

/* Presence is recorded: neither data without a hash nor a hole shows anything. */
static void test_recorded_not_inferred(void)
{
	struct box b;
	struct store_file *f;
	g_autofree uint8_t *zeros = g_malloc0(4096);
	g_autofree char *local = NULL;
	struct stat st;

	box_new(&b);
	f = box_create(&b, "f", 1, 10 * 4096);
	g_assert_cmpint(store_file_publish(f, 3, XXH3_64bits(zeros, 4096)), ==, 0); /* a hole */
	g_assert_cmpint(store_file_write(f, 5 * 4096, local = g_strnfill(4096, 'x'), 4096), ==, 0);
	store_file_close(f);
	box_close(&b);
	box_open(&b);
	g_assert_cmpint(store_file_open(b.store, "f", 1001, &f), ==, 0);
	for (uint64_t k = 0; k < 10; k++)
		g_assert_true(store_file_present(f, k, k) == (k == 3));
	g_assert_cmpint(fstat(store_file_fd(f), &st), ==, 0);
	g_assert_cmpint(st.st_blocks * 512, <=, 8192);
	/* a hash of 0 is a hash */
	g_assert_cmpint(store_file_publish(f, 7, 0), ==, 0);
	store_file_close(f);
	g_assert_cmpint(store_file_open(b.store, "f", 1001, &f), ==, 0);
	g_assert_true(store_file_present(f, 7, 7));
	g_assert_cmpint(store_file_write(f, 10 * 4096 - 1, "ab", 2), ==, -EINVAL);
	g_assert_cmpint(store_file_write(f, UINT64_MAX, "ab", 2), ==, -EINVAL);
	store_file_close(f);
	box_free(&b);
}

/* A source that places the bytes itself may leave the end of the only chunk as a hole. */
static void test_single_hole(void)
{
	struct box b;
	struct store_file *f;
	g_autofree uint8_t *zeros = g_malloc0(3000);
	struct stat st;

	box_new(&b);
	f = box_create(&b, "f", 1, 3000);
	g_assert_cmpint(pwrite(store_file_fd(f), zeros, 100, 0), ==, 100);
	g_assert_cmpint(store_file_publish(f, 0, XXH3_64bits(zeros, 3000)), ==, 0);
	g_assert_cmpint(fstat(store_file_fd(f), &st), ==, 0);
	g_assert_cmpint(st.st_size, ==, 3000);
	store_file_close(f);
	g_assert_cmpint(open_error(&b, "f", 1), ==, 0);
	box_free(&b);
}

static void test_empty(void)
{
	struct box b;
	struct store_file *f;

	box_new(&b);
	f = box_create(&b, "d/empty", 1, 0);
	g_assert_cmpuint(store_file_chunks(f), ==, 0);
	g_assert_true(store_file_complete(f));
	store_file_close(f);
	check_local(&b, "d/empty", 1, 0);
	f = box_open_file(&b, "d/empty", 1);
	g_assert_true(store_file_complete(f));
	store_file_close(f);
	box_free(&b);
}

static void test_limits(void)
{
	struct box b;
	struct store_file *f = NULL;
	struct store_origin o = box_origin(1, (CHUNKS_MAX << 12) + 1);

	box_new(&b);
	g_assert_cmpint(store_file_create(b.store, "f", &o, &f), ==, -EFBIG);
	o.size = UINT64_MAX;
	g_assert_cmpint(store_file_create(b.store, "f", &o, &f), ==, -EFBIG);
	o.size = UINT64_C(1) << 39; /* a sparse one of 512 GiB, and its map */
	g_assert_cmpint(store_file_create(b.store, "f", &o, &f), ==, 0);
	box_fill(f, 1, (1 << 27) - 1, (1 << 27) - 1);
	store_file_close(f);
	g_assert_cmpint(store_file_open(b.store, "f", 1001, &f), ==, 0);
	g_assert_cmpuint(store_file_chunks_present(f), ==, 1);
	g_assert_true(store_file_present(f, (1 << 27) - 1, (1 << 27) - 1));
	store_file_close(f);
	box_free(&b);
}

/* Closed, or discarded, with nothing present: no trace. */
static void test_nothing_present(void)
{
	struct box b;
	struct store_file *f;
	g_autofree char *tree = NULL, *tmp = NULL;

	box_new(&b);
	tree = box_tree(&b, NULL);
	tmp = box_state(&b, "tmp");
	store_file_close(box_create(&b, "f", 1, 100));
	f = box_create(&b, "d/f", 1, 100000);
	g_assert_cmpint(store_file_write(f, 0, "x", 1), ==, 0);
	g_assert_cmpint(store_file_discard(b.store, "d/f", f), ==, 0);
	g_assert_cmpuint(box_count(tree), ==, 0);
	g_assert_cmpuint(box_count(tmp), ==, 0);
	f = box_create(&b, "g", 1, 100);
	box_fill(f, 1, 0, 0);
	g_assert_cmpint(store_file_discard(b.store, "g", f), ==, -EBUSY);
	g_assert_cmpint(open_error(&b, "g", 1), ==, 0);
	box_free(&b);
}

/* A second create finds what the first made. */
static void test_create_again(void)
{
	struct box b;
	struct store_file *f;
	struct store_origin other = box_origin(2, 5000);

	box_new(&b);
	f = box_create(&b, "f", 1, 9000);
	box_fill(f, 1, 0, 1);
	store_file_close(f);
	g_assert_cmpint(store_file_create(b.store, "f", &other, &f), ==, 0);
	g_assert_cmpuint(store_file_size(f), ==, 9000);
	g_assert_cmpuint(store_file_version(f), ==, 7001);
	g_assert_cmpuint(store_file_chunks_present(f), ==, 2);
	store_file_close(f);
	box_free(&b);
}

static void test_owner(void)
{
	struct box b;
	struct store_origin o = box_origin(1, 10);
	struct store_file *f;
	struct stat st;

	box_new(&b);
	o.mode = S_IFREG | 04411;
	o.uid = 1234;
	o.gid = 4321;
	g_assert_cmpint(store_file_create(b.store, "f", &o, &f), ==, 0);
	box_fill(f, 1, 0, 0);
	g_assert_cmpint(fstat(store_file_fd(f), &st), ==, 0);
	if (geteuid() == 0) {
		g_assert_cmpuint(st.st_uid, ==, 1234);
		g_assert_cmpuint(st.st_gid, ==, 4321);
		g_assert_cmpuint(st.st_mode & 07777, ==, 0411);
	} else {
		g_assert_cmpuint(st.st_mode & 07777, ==, 0611);
	}
	store_file_close(f);
	box_free(&b);
}

/* A whole file may be executed from the tree while it is open here. */
static void test_executable(void)
{
	struct box b;
	struct store_origin o = box_origin(1, 0);
	struct store_file *f;
	g_autofree char *bytes = NULL, *local = NULL;
	gsize length;

	box_new(&b);
	g_assert_true(g_file_get_contents("/bin/true", &bytes, &length, NULL));
	o.size = length;
	o.mode = S_IFREG | 0755;
	g_assert_cmpint(store_file_create(b.store, "true", &o, &f), ==, 0);
	g_assert_cmpint(store_file_write(f, 0, bytes, length), ==, 0);
	for (uint64_t k = 0; k < store_file_chunks(f); k++)
		g_assert_cmpint(
		        store_file_publish(
		                f, k, XXH3_64bits(bytes + 4096 * k, MIN(4096, length - 4096 * k))),
		        ==, 0);
	store_file_close(f);
	g_assert_cmpint(store_file_open(b.store, "true", 1001, &f), ==, 0);
	local = box_tree(&b, "true");
	g_assert_true(g_spawn_command_line_sync(local, NULL, NULL, NULL, NULL));
	store_file_close(f);
	box_free(&b);
}

/* A file follows another version only if all that is present has been compared. */
static void test_repin(void)
{
	struct box b;
	uint8_t compared[2] = {0};

	box_new(&b);
	struct store_file *f = box_create(&b, "f", 0, 10 * 4096);
	box_fill(f, 0, 2, 3);
	box_fill(f, 0, 9, 9);
	compared[0] = 1 << 2 | 1 << 3;
	g_assert_cmpint(store_file_repin(f, 7000, 8000, compared), ==, -EAGAIN);
	compared[1] = 1 << 1;
	g_assert_cmpint(store_file_repin(f, 7001, 8000, compared), ==, -ESTALE);
	g_assert_cmpuint(store_file_version(f), ==, 7000);
	g_assert_cmpint(store_file_repin(f, 7000, 8000, compared), ==, 0);
	g_assert_cmpint(store_file_publish_version(f, 5, 1, 7000), ==, -ESTALE);
	g_assert_false(store_file_present(f, 5, 5));
	store_file_close(f);
	box_close(&b);
	box_open(&b); /* map and record agree */
	f = box_open_file(&b, "f", 0);
	g_assert_cmpuint(store_file_version(f), ==, 8000);
	g_assert_cmpuint(store_file_chunks_present(f), ==, 3);
	box_check(f, 0);
	store_file_close(f);
	box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/file/single", test_single);
	g_test_add_func("/file/several", test_several);
	g_test_add_func("/file/recorded-not-inferred", test_recorded_not_inferred);
	g_test_add_func("/file/single-hole", test_single_hole);
	g_test_add_func("/file/empty", test_empty);
	g_test_add_func("/file/limits", test_limits);
	g_test_add_func("/file/nothing-present", test_nothing_present);
	g_test_add_func("/file/create-again", test_create_again);
	g_test_add_func("/file/repin", test_repin);
	g_test_add_func("/file/owner", test_owner);
	g_test_add_func("/file/executable", test_executable);
	return g_test_run();
}
