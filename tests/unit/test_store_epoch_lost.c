/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Chunks whose data, or whose epoch, did not reach the disk or is damaged there. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "tests/unit/epoch_files.h"

static bool disk_full; /* for state/epoch */

ssize_t pwrite(int fd, const void *data, size_t length, off_t at)
{
	if (!disk_full || length != sizeof(struct epoch_disk))
		return syscall(SYS_pwrite64, fd, data, length, at);
	errno = ENOSPC;
	return -1;
}

int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
	if (!disk_full || strcmp(name, EPOCH_XATTR) != 0)
		return (int)syscall(SYS_fsetxattr, fd, name, value, size, flags);
	errno = ENOSPC;
	return -1;
}

static void damage(struct box *b, const char *path, off_t offset)
{
	g_autofree char *local = box_tree(b, path);
	int fd = open(local, O_RDWR);
	char byte;

	g_assert_cmpint(pread(fd, &byte, 1, offset), ==, 1);
	byte ^= 1;
	g_assert_cmpint(pwrite(fd, &byte, 1, offset), ==, 1);
	close(fd);
}

/* Chunks that did not reach the disk are absent, and can be fetched again. */
static void test_lost_data(void)
{
	struct box b;
	struct store_file *f;
	g_autofree char *single = NULL, *whole = NULL;

	box_new(&b);
	epoch_files_make(&b);
	box_crash(&b);
	box_reboot(&b);
	damage(&b, "whole", 2 * 4096 + 17);
	damage(&b, "part", 3 * 4096);
	single = box_tree(&b, "single"); /* delayed allocation: name and record, but no bytes */
	g_assert_cmpint(truncate(single, 0), ==, 0);
	whole = box_tree(&b, "whole");
	g_assert_cmpint(truncate(whole, 4 * 4096 + 1), ==, 0);
	box_open(&b);
	f = box_open_file(&b, "whole", 1);
	for (uint64_t k = 0; k < CHUNKS; k++)
		g_assert_cmpint(store_file_verify(f, k), ==, k == 2 || k >= 4 ? -ESTALE : 0);
	g_assert_false(store_file_present(f, 2, 2));
	g_assert_cmpint(store_file_verify(f, 2), ==, -ESTALE);
	store_file_close(f);
	epoch_file_check(&b, "whole", 1, 3, 0);
	box_crash(&b);
	box_open(&b);
	epoch_file_check(&b, "whole", 1, 3, 0);
	f = box_open_file(&b, "whole", 1);
	box_fill(f, 1, 2, 2);
	box_fill(f, 1, 4, 5);
	g_assert_true(store_file_complete(f));
	store_file_close(f);
	epoch_file_check(&b, "whole", 1, CHUNKS, 0);
	/* fetched again without verification */
	f = box_open_file(&b, "part", 2);
	box_fill(f, 2, 0, 3);
	store_file_close(f);
	epoch_file_check(&b, "part", 2, 4, 0);
	f = box_open_file(&b, "single", 3);
	g_assert_true(store_file_doubtful(f, 0));
	g_assert_cmpint(store_file_verify(f, 0), ==, -ESTALE);
	g_assert_false(store_file_doubtful(f, 0));
	box_fill(f, 3, 0, 0);
	store_file_close(f);
	epoch_file_check(&b, "single", 3, 1, 0);
	box_free(&b);
}

/* Neither data nor the file is left. */
static void test_lost_single(void)
{
	struct box b;
	struct store_file *f;
	struct store_probe probe;

	box_new(&b);
	epoch_files_make(&b);
	box_crash(&b);
	box_reboot(&b);
	damage(&b, "single", 1);
	box_open(&b);
	f = box_open_file(&b, "single", 3);
	g_assert_cmpint(store_file_verify(f, 0), ==, -ESTALE);
	store_file_close(f);
	g_assert_cmpint(store_probe(b.store, "single", 1003, &probe), ==, -ENOENT);
	f = box_open_file(&b, "single", 3);
	g_assert_cmpuint(store_file_chunks_present(f), ==, 0);
	g_assert_cmpint(store_file_discard(b.store, "single", f), ==, 0);
	g_assert_cmpint(store_file_open(b.store, "single", 1003, &f), ==, -ENOENT);
	box_free(&b);
}

/* A write-back error was seen: the next session trusts nothing. */
static void test_errors_seen(void)
{
	struct box b;
	struct epoch_disk d;

	box_new(&b);
	epoch_files_make(&b);
	box_crash(&b);
	box_epoch_read(&b, &d);
	d.errors = GUINT32_TO_LE(GUINT32_FROM_LE(d.errors) + 1);
	box_epoch_write(&b, &d);
	box_open(&b);
	epoch_files_doubted(&b);
	box_close(&b);
	box_epoch_read(&b, &d);
	g_assert_cmpuint(GUINT32_FROM_LE(d.errors), ==, 1);
	box_free(&b);
}

static void epoch_flip(const char *path, unsigned i)
{
	g_autofree char *kept = NULL;
	gsize length;

	g_assert_true(g_file_get_contents(path, &kept, &length, NULL));
	g_assert_cmpuint(length, ==, sizeof(struct epoch_disk));
	kept[i] ^= 0x10;
	g_assert_true(g_file_set_contents(path, kept, length, NULL));
}

/* A damaged file costs nothing: there is a copy. Without it everything is verified. */
static void test_damaged_epoch(void)
{
	struct box b;
	g_autofree char *path = NULL, *lock = NULL;

	g_log_set_always_fatal(G_LOG_FATAL_MASK);
	box_new(&b);
	epoch_files_make(&b);
	box_close(&b);
	path = box_state(&b, "epoch");
	lock = box_state(&b, "lock");
	for (unsigned i = 0; i < sizeof(struct epoch_disk); i++) {
		epoch_flip(path, i);
		box_open(&b);
		epoch_file_check(&b, "whole", 1, CHUNKS, 0);
		box_close(&b);
	}
	for (unsigned i = 0; i < sizeof(struct epoch_disk); i++) {
		epoch_flip(path, i);
		g_assert_cmpint(removexattr(lock, EPOCH_XATTR), ==, 0);
		box_open(&b);
		epoch_files_doubted(&b);
		box_close(&b);
	}
	g_assert_cmpint(unlink(path), ==, 0);
	removexattr(lock, EPOCH_XATTR);
	box_open(&b);
	epoch_files_doubted(&b);
	epoch_file_verify(&b, "whole", 1);
	box_crash(&b);
	g_assert_cmpint(unlink(path), ==, 0); /* the copy is that of the unclean epoch */
	disk_full = true;
	box_open(&b);
	epoch_file_check(&b, "whole", 1, CHUNKS, 0);
	box_crash(&b);
	disk_full = false;
	box_open(&b);
	epoch_file_check(&b, "whole", 1, CHUNKS, 0);
	box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/epoch/lost-data", test_lost_data);
	g_test_add_func("/epoch/lost-single", test_lost_single);
	g_test_add_func("/epoch/errors-seen", test_errors_seen);
	g_test_add_func("/epoch/damaged", test_damaged_epoch);
	return g_test_run();
}
