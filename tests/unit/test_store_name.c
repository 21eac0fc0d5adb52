/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Names of local files: several of one file, names in use, names that lead elsewhere. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
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

static struct store_file *create_linked(struct box *b, const char *path, unsigned file,
                                        uint64_t size)
{
	struct store_origin o = box_origin(file, size);
	struct store_file *f = NULL;

	o.nlink = 3;
	g_assert_cmpint(store_file_create(b->store, path, &o, &f), ==, 0);
	return f;
}

static void test_hard_links(void)
{
	struct box b;
	struct store_file *f;
	struct store_probe probe;
	g_autofree char *one = NULL, *two = NULL, *three = NULL;
	struct stat st[2];

	box_new(&b);
	one = box_tree(&b, "d/one");
	two = box_tree(&b, "e/two");
	three = box_tree(&b, "three");
	g_assert_cmpint(open_error(&b, "e/two", 1), ==, -ENOENT);
	f = create_linked(&b, "d/one", 1, 9000);
	box_fill(f, 1, 1, 1);
	store_file_close(f);
	/* a look-up makes no name, an open does */
	g_assert_cmpint(store_probe(b.store, "e/two", 1001, &probe), ==, 0);
	g_assert_false(box_exists(two));
	f = box_open_file(&b, "e/two", 1);
	g_assert_cmpuint(store_file_chunks_present(f), ==, 1);
	box_fill(f, 1, 0, 2);
	store_file_close(f);
	g_assert_cmpint(stat(one, &st[0]), ==, 0);
	g_assert_cmpint(stat(two, &st[1]), ==, 0);
	g_assert_cmpuint(st[0].st_ino, ==, st[1].st_ino);
	box_close(&b);
	box_open(&b);
	g_assert_cmpint(unlink(one), ==, 0);
	g_assert_cmpint(unlink(two), ==, 0);
	/* by its number, with no name left; and it gets one */
	f = box_open_file(&b, "three", 1);
	g_assert_true(store_file_complete(f));
	store_file_close(f);
	g_assert_cmpint(open_error(&b, "three", 1), ==, 0);
	box_free(&b);
}

static void test_hard_links_stale(void)
{
	struct box b;
	struct store_file *f;
	g_autofree char *link = NULL;

	box_new(&b);
	f = create_linked(&b, "one", 1, 100);
	box_fill(f, 1, 0, 0);
	store_file_close(f);
	link = box_state(&b, "links/e9/00000000000003e9");
	g_assert_true(box_exists(link));
	g_assert_cmpint(truncate(link, 99), ==, 0);
	g_assert_cmpint(open_error(&b, "two", 1), ==, -ESTALE);
	g_assert_false(box_exists(link));
	g_assert_cmpint(open_error(&b, "two", 1), ==, -ENOENT);
	g_assert_cmpint(open_error(&b, "one", 1), ==, -ESTALE);
	f = create_linked(&b, "two", 1, 100);
	box_fill(f, 1, 0, 0);
	store_file_close(f);
	f = box_open_file(&b, "one", 1);
	g_assert_true(store_file_complete(f));
	store_file_close(f);
	box_free(&b);
}

/* A file with two names and no present chunk goes, with its index. */
static void test_hard_links_discard(void)
{
	struct box b;
	struct store_file *f;
	g_autofree char *link = NULL, *local = NULL;

	box_new(&b);
	f = create_linked(&b, "one", 1, 9000);
	box_fill(f, 1, 0, 0);
	g_assert_cmpint(pwrite(store_file_fd(f), "damaged", 7, 50), ==, 7);
	store_file_close(f);
	box_crash(&b);
	box_reboot(&b);
	box_open(&b);
	g_assert_cmpint(store_file_open(b.store, "one", 1001, &f), ==, 0);
	g_assert_cmpint(store_file_verify(f, 0), ==, -ESTALE);
	g_assert_cmpint(store_file_discard(b.store, "one", f), ==, 0);
	link = box_state(&b, "links/e9/00000000000003e9");
	local = box_tree(&b, "one");
	g_assert_false(box_exists(link));
	g_assert_false(box_exists(local));
	g_assert_cmpint(open_error(&b, "one", 1), ==, -ENOENT);
	box_free(&b);
}

/* Files of others stay, files of the store make way. */
static void test_in_the_way(void)
{
	struct box b;
	struct store_file *f;
	g_autofree char *plain = NULL, *text = NULL, *empty = NULL;
	g_autofree char *orphans = NULL, *kept = NULL;

	box_new(&b);
	plain = box_tree(&b, "plain");
	g_file_set_contents(plain, "somebody's", -1, NULL);
	g_assert_cmpint(open_error(&b, "plain", 1), ==, -ENOENT);
	g_assert_cmpint(store_open_readonly(b.store, "plain", 1001), ==, -ENOENT);
	f = box_create(&b, "plain", 1, 9000);
	box_fill(f, 1, 0, 2);
	g_assert_true(store_file_complete(f));
	box_check(f, 1);
	store_file_close(f);
	g_assert_true(g_file_get_contents(plain, &text, NULL, NULL));
	g_assert_cmpstr(text, ==, "somebody's");
	f = box_create(&b, "plain/beneath", 2, 10);
	box_fill(f, 2, 0, 0);
	store_file_close(f);
	g_assert_cmpint(open_error(&b, "plain/beneath", 2), ==, -ENOENT);
	/* a file of the store that is a directory now */
	f = box_create(&b, "was/a", 3, 10);
	box_fill(f, 3, 0, 0);
	store_file_close(f);
	f = box_create(&b, "was/a/file/now", 4, 9000);
	box_fill(f, 4, 0, 2);
	store_file_close(f);
	store_file_close(box_open_file(&b, "was/a/file/now", 4));
	orphans = box_state(&b, "orphans");
	g_assert_cmpuint(box_count(orphans), ==, 1);
	/* directories that are files now: an empty one, and another */
	empty = box_tree(&b, "empty");
	g_mkdir_with_parents(empty, 0755);
	f = box_create(&b, "empty", 5, 10);
	box_fill(f, 5, 0, 0);
	store_file_close(f);
	store_file_close(box_open_file(&b, "empty", 5));
	f = box_create(&b, "was", 6, 10);
	box_fill(f, 6, 0, 0);
	store_file_close(f);
	g_assert_cmpint(open_error(&b, "was", 6), ==, -ENOENT);
	store_file_close(box_open_file(&b, "was/a/file/now", 4));
	/* files set aside with fetched data alone are removed when the store is opened */
	kept = g_build_filename(orphans, "kept", NULL);
	g_file_set_contents(kept, "somebody's", -1, NULL);
	box_close(&b);
	box_open(&b);
	g_assert_cmpuint(box_count(orphans), ==, 1);
	g_assert_true(box_exists(kept));
	box_free(&b);
}

static void test_escapes(void)
{
	static const char *const paths[] = {"../f", "/f", "a/../../f", "", "a//f", "a/.", ".."};
	struct box b;
	struct store_origin o = box_origin(1, 10);
	struct store_file *f = NULL;
	struct store_probe probe;
	g_autofree char *outside = NULL, *link = NULL, *fifo = NULL, *to = NULL, *secret = NULL;

	box_new(&b);
	for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++) {
		g_assert_cmpint(store_file_create(b.store, paths[i], &o, &f), <, 0);
		g_assert_cmpint(store_file_open(b.store, paths[i], 1001, &f), <, 0);
		g_assert_cmpint(store_probe(b.store, paths[i], 1001, &probe), <, 0);
		g_assert_cmpint(store_open_readonly(b.store, paths[i], 1001), <, 0);
	}
	outside = g_build_filename(b.root, "outside", NULL);
	g_mkdir_with_parents(outside, 0755);
	link = box_tree(&b, "link");
	g_assert_cmpint(symlink(outside, link), ==, 0);
	f = box_create(&b, "link/f", 1, 10);
	box_fill(f, 1, 0, 0);
	store_file_close(f);
	g_assert_cmpuint(box_count(outside), ==, 0);
	secret = g_build_filename(outside, "secret", NULL);
	g_file_set_contents(secret, "secret", -1, NULL);
	to = box_tree(&b, "to");
	g_assert_cmpint(symlink(secret, to), ==, 0);
	g_assert_cmpint(open_error(&b, "link/secret", 1), ==, -ENOENT);
	g_assert_cmpint(open_error(&b, "to", 1), ==, -ENOENT);
	fifo = box_tree(&b, "fifo");
	g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
	g_assert_cmpint(open_error(&b, "fifo", 1), ==, -ENOENT);
	g_assert_cmpint(store_open_readonly(b.store, "fifo", 1001), ==, -ENOENT);
	box_free(&b);
}

/* Without O_TMPFILE, and without the right to link a descriptor. */
static void test_fallbacks(void)
{
	struct box b;
	struct store_file *f;
	g_autofree char *tmp = NULL;

	box_new(&b);
	tmp = box_state(&b, "tmp");
	b.store->link_by_proc = 1;
	f = box_create(&b, "a/one", 1, 9000);
	box_fill(f, 1, 0, 2);
	store_file_close(f);
	b.store->no_tmpfile = 1;
	f = create_linked(&b, "b/two", 2, 9000);
	g_assert_cmpuint(box_count(tmp), ==, 1);
	box_fill(f, 2, 0, 2);
	store_file_close(f);
	g_assert_cmpuint(box_count(tmp), ==, 0);
	store_file_close(box_create(&b, "c", 3, 10));
	g_assert_cmpuint(box_count(tmp), ==, 0);
	f = box_create(&b, "d", 4, 10);
	box_fill(f, 4, 0, 0);
	box_crash(&b); /* before it is closed: its temporary name stays */
	g_assert_cmpuint(box_count(tmp), ==, 1);
	close(f->fd);
	map_clear(&f->map);
	g_free(f->path);
	g_free(f);
	box_open(&b);
	g_assert_cmpuint(box_count(tmp), ==, 0);
	store_file_close(box_open_file(&b, "a/one", 1));
	store_file_close(box_open_file(&b, "b/two", 2));
	store_file_close(box_open_file(&b, "x/two", 2));
	store_file_close(box_open_file(&b, "d", 4));
	box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/name/hard-links", test_hard_links);
	g_test_add_func("/name/hard-links-stale", test_hard_links_stale);
	g_test_add_func("/name/hard-links-discard", test_hard_links_discard);
	g_test_add_func("/name/in-the-way", test_in_the_way);
	g_test_add_func("/name/escapes", test_escapes);
	g_test_add_func("/name/fallbacks", test_fallbacks);
	return g_test_run();
}
