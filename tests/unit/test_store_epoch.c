/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Chunks that are trusted after each kind of end of the last session. Chunks are of 4 KiB. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <xxhash.h>
#include "tests/unit/store_box.h"

#define CHUNKS 6
#define SIZE (CHUNKS * 4096 - 100)

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

static void make_files(struct box *b)
{
	struct store_file *f = box_create(b, "whole", 1, SIZE);

	box_fill(f, 1, 0, CHUNKS - 1);
	store_file_close(f);
	f = box_create(b, "part", 2, SIZE);
	box_fill(f, 2, 1, 3);
	store_file_close(f);
	f = box_create(b, "single", 3, 1000);
	box_fill(f, 3, 0, 0);
	store_file_close(f);
}

/* The numbers of trusted and of doubtful chunks. */
static void check_file(struct box *b, const char *path, unsigned file, unsigned present,
                       unsigned doubtful)
{
	struct store_file *f = box_open_file(b, path, file);
	struct store_probe probe;
	unsigned doubts = 0;
	int fd;

	for (uint64_t k = 0; k < store_file_chunks(f); k++)
		doubts += store_file_doubtful(f, k);
	g_assert_cmpuint(store_file_chunks_present(f), ==, present);
	g_assert_cmpuint(doubts, ==, doubtful);
	g_assert_cmpint(store_probe(b->store, path, 1000 + file, &probe), ==, 0);
	g_assert_true(probe.complete == (present == store_file_chunks(f)));
	g_assert_true(store_file_complete(f) == probe.complete);
	fd = store_open_readonly(b->store, path, 1000 + file);
	g_assert_true((fd >= 0) == probe.complete);
	if (fd >= 0)
		close(fd);
	store_file_close(f);
}

static void check_trusted(struct box *b)
{
	check_file(b, "whole", 1, CHUNKS, 0);
	check_file(b, "part", 2, 3, 0);
	check_file(b, "single", 3, 1, 0);
}

static void check_doubted(struct box *b)
{
	check_file(b, "whole", 1, 0, CHUNKS);
	check_file(b, "part", 2, 0, 3);
	check_file(b, "single", 3, 0, 1);
}

static uint32_t number_on_disk(struct box *b)
{
	struct epoch_disk d;

	box_epoch_read(b, &d);
	return GUINT32_FROM_LE(d.number);
}

static bool clean_on_disk(struct box *b)
{
	struct epoch_disk d;

	box_epoch_read(b, &d);
	return d.clean != 0;
}

static void test_clean_mark(void)
{
	struct box b;
	struct store_file *f;

	box_new(&b);
	g_assert_true(clean_on_disk(&b));
	f = box_create(&b, "f", 1, SIZE);
	g_assert_true(clean_on_disk(&b));
	box_fill(f, 1, 0, 0);
	g_assert_false(clean_on_disk(&b));
	store_file_close(f);
	g_assert_false(clean_on_disk(&b));
	box_close(&b);
	g_assert_true(clean_on_disk(&b));
	box_open(&b);
	store_file_close(box_open_file(&b, "f", 1));
	g_assert_true(clean_on_disk(&b)); /* reading changes nothing */
	box_free(&b);
}

/* A clean end: trusted on any machine. */
static void test_clean(void)
{
	struct box b;

	box_new(&b);
	make_files(&b);
	box_close(&b);
	box_reboot(&b);
	box_open(&b);
	check_trusted(&b);
	g_assert_cmpuint(number_on_disk(&b), ==, 1);
	box_free(&b);
}

/* The daemon died, the machine did not. */
static void test_crash(void)
{
	struct box b;

	box_new(&b);
	make_files(&b);
	box_crash(&b);
	box_open(&b);
	check_trusted(&b);
	box_crash(&b);
	box_open(&b);
	check_trusted(&b);
	box_close(&b);
	g_assert_true(clean_on_disk(&b));
	box_free(&b);
}

static void verify_all(struct box *b, const char *path, unsigned file)
{
	struct store_file *f = box_open_file(b, path, file);

	for (uint64_t k = 0; k < store_file_chunks(f); k++) {
		bool doubtful = store_file_doubtful(f, k), present = store_file_present(f, k, k);
		int err = store_file_verify(f, k);

		g_assert_cmpint(err, ==, doubtful || present ? 0 : -ESTALE);
		g_assert_true(store_file_present(f, k, k) == (err == 0));
		g_assert_false(store_file_doubtful(f, k));
	}
	box_check(f, file);
	store_file_close(f);
}

/* The machine died: each chunk is verified before it is used. */
static void test_power_loss(void)
{
	struct box b;
	struct store_file *f;

	box_new(&b);
	make_files(&b);
	box_crash(&b);
	box_reboot(&b);
	box_open(&b);
	check_doubted(&b);
	f = box_open_file(&b, "whole", 1);
	g_assert_cmpint(store_file_verify(f, 2), ==, 0);
	g_assert_true(store_file_present(f, 2, 2));
	g_assert_false(store_file_complete(f));
	store_file_close(f);
	/* while one chunk of a file is doubtful, all of them are again next time */
	check_doubted(&b);
	verify_all(&b, "whole", 1);
	verify_all(&b, "part", 2);
	verify_all(&b, "single", 3);
	check_trusted(&b);
	box_crash(&b); /* the epoch is alive now */
	box_open(&b);
	check_trusted(&b);
	box_close(&b);
	g_assert_cmpuint(number_on_disk(&b), ==, 2);
	box_open(&b);
	check_trusted(&b);
	box_free(&b);
}

/* A dead epoch stays dead, however clean later ones end. */
static void test_dead_for_good(void)
{
	struct box b;
	struct store_file *f;

	box_new(&b);
	make_files(&b);
	box_crash(&b);
	box_reboot(&b);
	box_open(&b);
	verify_all(&b, "part", 2);
	f = box_create(&b, "new", 4, SIZE);
	box_fill(f, 4, 0, 1);
	store_file_close(f);
	box_close(&b);
	box_open(&b);
	check_file(&b, "whole", 1, 0, CHUNKS);
	check_file(&b, "part", 2, 3, 0);
	check_file(&b, "single", 3, 0, 1);
	check_file(&b, "new", 4, 2, 0);
	box_free(&b);
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
	make_files(&b);
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
	check_file(&b, "whole", 1, 3, 0);
	box_crash(&b);
	box_open(&b);
	check_file(&b, "whole", 1, 3, 0);
	f = box_open_file(&b, "whole", 1);
	box_fill(f, 1, 2, 2);
	box_fill(f, 1, 4, 5);
	g_assert_true(store_file_complete(f));
	store_file_close(f);
	check_file(&b, "whole", 1, CHUNKS, 0);
	/* fetched again without verification */
	f = box_open_file(&b, "part", 2);
	box_fill(f, 2, 0, 3);
	store_file_close(f);
	check_file(&b, "part", 2, 4, 0);
	f = box_open_file(&b, "single", 3);
	g_assert_true(store_file_doubtful(f, 0));
	g_assert_cmpint(store_file_verify(f, 0), ==, -ESTALE);
	g_assert_false(store_file_doubtful(f, 0));
	box_fill(f, 3, 0, 0);
	store_file_close(f);
	check_file(&b, "single", 3, 1, 0);
	box_free(&b);
}

/* Neither data nor the file is left. */
static void test_lost_single(void)
{
	struct box b;
	struct store_file *f;
	struct store_probe probe;

	box_new(&b);
	make_files(&b);
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

static void test_end_epoch(void)
{
	struct box b;
	struct store_settings s = {.source = "test:", .end_epoch = true};
	struct store_file *f;

	box_new(&b);
	make_files(&b);
	box_close(&b);
	b.store = box_try(&b, &s, NULL);
	check_doubted(&b);
	f = box_open_file(&b, "single", 3);
	g_assert_cmpint(store_file_verify(f, 0), ==, 0);
	store_file_close(f);
	box_crash(&b);
	b.store = box_try(&b, &s, NULL);
	check_doubted(&b);
	box_close(&b);
	box_open(&b);
	check_doubted(&b);
	g_assert_cmpuint(number_on_disk(&b), ==, 3);
	box_free(&b);
}

/* The store is on another mount of the same file system: unwritten data may be lost. */
static void test_other_mount(void)
{
	struct box b;
	g_autofree char *there = NULL, *here = NULL;

	box_new(&b);
	make_files(&b);
	box_crash(&b);
	here = g_strdup(b.path);
	there = g_build_filename(b.root, "there", NULL);
	g_mkdir_with_parents(there, 0700);
	if (geteuid() != 0 || mount(b.path, there, NULL, MS_BIND, NULL) < 0) {
		g_test_skip("needs root to mount");
		box_open(&b);
		box_free(&b);
		return;
	}
	g_free(b.path);
	b.path = g_strdup(there);
	box_open(&b);
	check_doubted(&b);
	verify_all(&b, "single", 3);
	box_crash(&b);
	box_open(&b);
	check_file(&b, "single", 3, 1, 0);
	box_close(&b);
	g_assert_cmpint(umount(there), ==, 0);
	g_free(b.path);
	b.path = g_steal_pointer(&here);
	box_open(&b); /* it was clean */
	check_file(&b, "single", 3, 1, 0);
	box_free(&b);
}

/* A write-back error was seen: the next session trusts nothing. */
static void test_errors_seen(void)
{
	struct box b;
	struct epoch_disk d;

	box_new(&b);
	make_files(&b);
	box_crash(&b);
	box_epoch_read(&b, &d);
	d.errors = GUINT32_TO_LE(GUINT32_FROM_LE(d.errors) + 1);
	box_epoch_write(&b, &d);
	box_open(&b);
	check_doubted(&b);
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
	make_files(&b);
	box_close(&b);
	path = box_state(&b, "epoch");
	lock = box_state(&b, "lock");
	for (unsigned i = 0; i < sizeof(struct epoch_disk); i++) {
		epoch_flip(path, i);
		box_open(&b);
		check_file(&b, "whole", 1, CHUNKS, 0);
		box_close(&b);
	}
	for (unsigned i = 0; i < sizeof(struct epoch_disk); i++) {
		epoch_flip(path, i);
		g_assert_cmpint(removexattr(lock, EPOCH_XATTR), ==, 0);
		box_open(&b);
		check_doubted(&b);
		box_close(&b);
	}
	g_assert_cmpint(unlink(path), ==, 0);
	removexattr(lock, EPOCH_XATTR);
	box_open(&b);
	check_doubted(&b);
	verify_all(&b, "whole", 1);
	box_crash(&b);
	g_assert_cmpint(unlink(path), ==, 0); /* the copy is that of the unclean epoch */
	disk_full = true;
	box_open(&b);
	check_file(&b, "whole", 1, CHUNKS, 0);
	box_crash(&b);
	disk_full = false;
	box_open(&b);
	check_file(&b, "whole", 1, CHUNKS, 0);
	box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/epoch/clean-mark", test_clean_mark);
	g_test_add_func("/epoch/clean", test_clean);
	g_test_add_func("/epoch/crash", test_crash);
	g_test_add_func("/epoch/power-loss", test_power_loss);
	g_test_add_func("/epoch/dead-for-good", test_dead_for_good);
	g_test_add_func("/epoch/lost-data", test_lost_data);
	g_test_add_func("/epoch/lost-single", test_lost_single);
	g_test_add_func("/epoch/end", test_end_epoch);
	g_test_add_func("/epoch/other-mount", test_other_mount);
	g_test_add_func("/epoch/errors-seen", test_errors_seen);
	g_test_add_func("/epoch/damaged", test_damaged_epoch);
	return g_test_run();
}
