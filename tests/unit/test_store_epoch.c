/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Chunks that are trusted after each kind of end of the last session. Chunks are of 4 KiB. */
#include <sys/mount.h>
#include <unistd.h>
#include "tests/unit/epoch_files.h"

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
	epoch_files_make(&b);
	box_close(&b);
	box_reboot(&b);
	box_open(&b);
	epoch_files_trusted(&b);
	g_assert_cmpuint(number_on_disk(&b), ==, 1);
	box_free(&b);
}

/* The daemon died, the machine did not. */
static void test_crash(void)
{
	struct box b;

	box_new(&b);
	epoch_files_make(&b);
	box_crash(&b);
	box_open(&b);
	epoch_files_trusted(&b);
	box_crash(&b);
	box_open(&b);
	epoch_files_trusted(&b);
	box_close(&b);
	g_assert_true(clean_on_disk(&b));
	box_free(&b);
}

/* The machine died: each chunk is verified before it is used. */
static void test_power_loss(void)
{
	struct box b;
	struct store_file *f;

	box_new(&b);
	epoch_files_make(&b);
	box_crash(&b);
	box_reboot(&b);
	box_open(&b);
	epoch_files_doubted(&b);
	f = box_open_file(&b, "whole", 1);
	g_assert_cmpint(store_file_verify(f, 2), ==, 0);
	g_assert_true(store_file_present(f, 2, 2));
	g_assert_false(store_file_complete(f));
	store_file_close(f);
	/* while one chunk of a file is doubtful, all of them are again next time */
	epoch_files_doubted(&b);
	epoch_file_verify(&b, "whole", 1);
	epoch_file_verify(&b, "part", 2);
	epoch_file_verify(&b, "single", 3);
	epoch_files_trusted(&b);
	box_crash(&b); /* the epoch is alive now */
	box_open(&b);
	epoch_files_trusted(&b);
	box_close(&b);
	g_assert_cmpuint(number_on_disk(&b), ==, 2);
	box_open(&b);
	epoch_files_trusted(&b);
	box_free(&b);
}

/* A dead epoch stays dead, however clean later ones end. */
static void test_dead_for_good(void)
{
	struct box b;
	struct store_file *f;

	box_new(&b);
	epoch_files_make(&b);
	box_crash(&b);
	box_reboot(&b);
	box_open(&b);
	epoch_file_verify(&b, "part", 2);
	f = box_create(&b, "new", 4, SIZE);
	box_fill(f, 4, 0, 1);
	store_file_close(f);
	box_close(&b);
	box_open(&b);
	epoch_file_check(&b, "whole", 1, 0, CHUNKS);
	epoch_file_check(&b, "part", 2, 3, 0);
	epoch_file_check(&b, "single", 3, 0, 1);
	epoch_file_check(&b, "new", 4, 2, 0);
	box_free(&b);
}

static void test_end_epoch(void)
{
	struct box b;
	struct store_settings s = {.source = "test:", .end_epoch = true};
	struct store_file *f;

	box_new(&b);
	epoch_files_make(&b);
	box_close(&b);
	b.store = box_try(&b, &s, NULL);
	epoch_files_doubted(&b);
	f = box_open_file(&b, "single", 3);
	g_assert_cmpint(store_file_verify(f, 0), ==, 0);
	store_file_close(f);
	box_crash(&b);
	b.store = box_try(&b, &s, NULL);
	epoch_files_doubted(&b);
	box_close(&b);
	box_open(&b);
	epoch_files_doubted(&b);
	g_assert_cmpuint(number_on_disk(&b), ==, 3);
	box_free(&b);
}

/* The store is on another mount of the same file system: unwritten data may be lost. */
static void test_other_mount(void)
{
	struct box b;
	g_autofree char *there = NULL, *here = NULL;

	box_new(&b);
	epoch_files_make(&b);
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
	epoch_files_doubted(&b);
	epoch_file_verify(&b, "single", 3);
	box_crash(&b);
	box_open(&b);
	epoch_file_check(&b, "single", 3, 1, 0);
	box_close(&b);
	g_assert_cmpint(umount(there), ==, 0);
	g_free(b.path);
	b.path = g_steal_pointer(&here);
	box_open(&b); /* it was clean */
	epoch_file_check(&b, "single", 3, 1, 0);
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
	g_test_add_func("/epoch/end", test_end_epoch);
	g_test_add_func("/epoch/other-mount", test_other_mount);
	return g_test_run();
}
