/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A full disk: chunks that do not fit fail and stay absent, present ones stay readable. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>
#include "tests/unit/store_box.h"

#define SIZE (5 * 4096)

static void make(struct box *b, const char *path, unsigned file, uint64_t size)
{
	struct store_file *f = box_create(b, path, file, size);

	if (!store_file_complete(f))
		box_fill(f, file, 0, (size - 1) / 4096);
	store_file_close(f);
}

/* Fills the disk until every write fails; with free space again, all succeed. */
static void check_full(struct box *b)
{
	g_autofree char *ballast = g_build_filename(b->root, "disk", "ballast", NULL);
	g_autofree char *junk = g_malloc0(65536);
	unsigned published = 0, failed = 0;
	int fd;

	box_open(b);
	make(b, "before", 50, SIZE);
	box_close(b);
	fd = open(ballast, O_CREAT | O_WRONLY, 0600);
	for (size_t piece = 65536; piece >= 512; piece /= 2)
		while (write(fd, junk, piece) > 0)
			;
	/* space for some of it */
	g_assert_cmpint(ftruncate(fd, lseek(fd, 0, SEEK_CUR) - 100000), ==, 0);
	fsync(fd);
	box_open(b); /* a full disk is no reason not to read */
	store_file_close(box_open_file(b, "before", 50));
	for (unsigned file = 0; file < 40; file++) {
		g_autofree char *path = g_strdup_printf("d%u/f", file);
		struct store_origin o = box_origin(file, file % 2 ? SIZE : 3000);
		struct store_file *f = NULL;
		int err = store_file_create(b->store, path, &o, &f);

		g_assert_true(err == 0 || err == -ENOSPC);
		for (uint64_t k = 0; f && k < store_file_chunks(f); k++) {
			err = box_publish(f, file, k);
			g_assert_true(err == 0 || err == -ENOSPC);
			g_assert_true(store_file_present(f, k, k) == (err == 0));
			published += err == 0;
			failed += err != 0;
		}
		failed += err != 0;
		if (f) {
			box_check(f, file);
			store_file_close(f);
		}
	}
	g_assert_cmpuint(failed, >, 0);
	g_assert_cmpuint(published, >, 0);
	g_test_message("%u chunks went in, %u did not", published, failed);
	box_crash(b);
	g_assert_cmpint(ftruncate(fd, 0), ==, 0);
	fsync(fd);
	close(fd);
	box_open(b);
	for (unsigned file = 0; file < 40; file++) {
		g_autofree char *path = g_strdup_printf("d%u/f", file);
		struct store_file *f = box_create(b, path, file, file % 2 ? SIZE : 3000);

		box_check(f, file);
		if (!store_file_complete(f))
			box_fill(f, file, 0, store_file_chunks(f) - 1);
		g_assert_true(store_file_complete(f));
		store_file_close(f);
	}
	box_close(b);
}

/* A small file system of its own, made and mounted by these shell commands. */
static void full_on(const char *command)
{
	struct box b;
	g_autofree char *disk = NULL;
	const char *argv[] = {"/bin/sh", "-c", command, NULL, NULL};
	int status = -1;

	box_new(&b);
	box_close(&b);
	argv[3] = b.root;
	disk = g_build_filename(b.root, "disk", NULL);
	g_mkdir_with_parents(disk, 0700);
	g_free(b.path);
	b.path = g_build_filename(disk, "store", NULL);
	if (geteuid() == 0)
		g_spawn_sync(NULL, (char **)argv, NULL, 0, NULL, NULL, NULL, NULL, &status, NULL);
	if (status == 0) {
		check_full(&b);
		g_assert_cmpint(umount(disk), ==, 0);
	} else {
		g_test_skip("needs root to mount");
	}
	box_free(&b);
}

static void test_full_ext4(void)
{
	full_on("PATH=$PATH:/sbin:/usr/sbin; cd $0 && truncate -s 4M image &&"
	        "mkfs.ext4 -q -O ^has_journal image && mount -o loop image disk");
}

static void test_full_tmpfs(void)
{
	full_on("cd $0 && mount -t tmpfs -o size=2m full disk");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/full/ext4", test_full_ext4);
	g_test_add_func("/full/tmpfs", test_full_tmpfs);
	return g_test_run();
}
