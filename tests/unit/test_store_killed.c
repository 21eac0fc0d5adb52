/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Operations cut short, by hand and by kill -9: only data that was stored is returned. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/unit/damage_box.h"

/* Each step of the first chunk, and of the last, undone by hand. */
static void test_cut_short(void)
{
	struct box b;
	struct store_file *f;
	unsigned char data[64];
	g_autofree char *local = NULL, *link = NULL;
	struct record_disk *d = (struct record_disk *)data;
	struct store_origin o = box_origin(1, SIZE);
	struct stat st;

	/* map and record, indexed, but no name in the tree */
	box_new(&b);
	local = box_tree(&b, "d/f");
	o.nlink = 2;
	g_assert_cmpint(store_file_create(b.store, "d/f", &o, &f), ==, 0);
	box_fill(f, 1, 0, 1);
	store_file_close(f);
	g_assert_cmpint(unlink(local), ==, 0);
	f = box_open_file(&b, "d/f", 1);
	g_assert_cmpuint(store_file_chunks_present(f), ==, 2);
	g_assert_true(box_exists(local));
	/* every chunk, but not the mark that it is whole, nor the time */
	box_fill(f, 1, 2, CHUNKS - 1);
	store_file_close(f);
	box_record_read(local, data);
	g_assert_cmpuint(d->flags, ==, RECORD_COMPLETE);
	d->flags = 0;
	box_record_write(local, data, 56);
	g_assert_cmpint(utimensat(AT_FDCWD, local, NULL, 0), ==, 0);
	g_assert_cmpint(store_open_readonly(b.store, "d/f", 1001), ==, -ENOENT);
	f = box_open_file(&b, "d/f", 1);
	g_assert_true(store_file_complete(f));
	store_file_close(f);
	g_assert_cmpint(stat(local, &st), ==, 0);
	g_assert_cmpint(st.st_mtim.tv_sec, ==, 1600000000);
	box_record_read(local, data);
	g_assert_cmpuint(d->flags, ==, RECORD_COMPLETE);
	/* a map without a file: it blocks nothing */
	box_close(&b);
	box_open(&b);
	store_file_close(box_open_file(&b, "d/f", 1));
	box_free(&b);
}

/* Fills files until it is killed. */
static void work(struct box *b, unsigned seed)
{
	srandom(seed);
	for (;;) {
		unsigned file = random() % 12;
		g_autofree char *path = g_strdup_printf("d%u/f", file);
		struct store_file *f = box_create(b, path, file, file % 3 ? SIZE : 3000);
		unsigned n = random() % (CHUNKS + 1);

		for (unsigned i = 0; i < n; i++) {
			uint64_t k = random() % store_file_chunks(f);

			if (!store_file_present(f, k, k))
				g_assert_cmpint(box_publish(f, file, k), ==, 0);
		}
		store_file_close(f);
	}
}

static void test_killed(void)
{
	struct box b;
	unsigned present = 0;

	box_new(&b);
	box_close(&b);
	for (unsigned round = 0; round < 40; round++) {
		pid_t pid = fork();

		if (pid == 0) {
			box_open(&b);
			work(&b, round);
		}
		g_usleep(2000 + g_test_rand_int_range(0, 15000));
		kill(pid, SIGKILL);
		g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
		if (round % 4 == 3) {
			g_autofree char *epoch = box_state(&b, "epoch");

			if (box_exists(epoch))
				box_reboot(&b);
		}
		box_open(&b);
		for (unsigned file = 0; file < 12; file++) {
			g_autofree char *path = g_strdup_printf("d%u/f", file);
			struct store_file *f = NULL;
			int err = store_file_open(b.store, path, 1000 + file, &f);

			g_assert_true(err == 0 || err == -ENOENT);
			if (f == NULL)
				continue;
			/* the page cache is alive, whatever the epoch */
			for (uint64_t k = 0; k < store_file_chunks(f); k++)
				if (store_file_doubtful(f, k))
					g_assert_cmpint(store_file_verify(f, k), ==, 0);
			box_check(f, file);
			present += store_file_chunks_present(f);
			store_file_close(f);
			if (round % 8 == 7) {
				g_autofree char *local = box_tree(&b, path);

				unlink(local);
			}
		}
		box_crash(&b);
	}
	g_assert_cmpuint(present, >, 0);
	box_open(&b);
	box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/damage/cut-short", test_cut_short);
	g_test_add_func("/damage/killed", test_killed);
	return g_test_run();
}
