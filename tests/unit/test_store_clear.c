/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A directory is removed or replaced: leftovers go with it, local files do not. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fetch/store/tree/tree.h"
#include "tests/unit/store_box.h"

static void put_copy(struct box *b, const char *path, unsigned file, uint64_t size)
{
	struct store_file *f = box_create(b, path, file, size);

	box_fill(f, file, 0, 0);
	store_file_close(f);
}

static void put_kept(struct box *b, const char *path, unsigned file)
{
	const struct store_origin origin = box_origin(file, 9000);
	const struct store_kept kept = {.remote = path, .nlink = 1, .origin = &origin};
	struct store_file *f = box_create(b, path, file, 9000);

	g_assert_cmpint(store_file_keep(f, path, &kept), ==, 0);
	store_file_close(f);
}

static struct tree_maker maker(uint32_t mode)
{
	return (struct tree_maker){
	        .uid = getuid(), .gid = getgid(), .umask = 022, .mode = mode, .target = "to"};
}

static void put_plain(struct box *b, const char *path)
{
	g_autofree char *full = box_tree(b, path);

	g_assert_true(g_file_set_contents(full, "somebody's", -1, NULL));
}

static void check_stays(struct box *b, const char *path)
{
	const struct tree_maker directory = maker(S_IFDIR | 0755), link = maker(S_IFLNK | 0777),
	                        file = maker(S_IFREG | 0644);
	g_autofree char *full = box_tree(b, path);

	g_assert_cmpint(tree_clears(b->store, "d"), ==, -ENOTEMPTY);
	g_assert_cmpint(tree_rmdir(b->store, "d", 7), ==, -ENOTEMPTY);
	g_assert_cmpint(tree_make(b->store, "d", &directory), ==, -EEXIST);
	g_assert_cmpint(tree_make(b->store, "d", &link), ==, -EEXIST);
	g_assert_cmpint(tree_make_file(b->store, "d", &file), ==, -EEXIST);
	g_assert_cmpint(tree_make(b->store, "other", &directory), ==, 0);
	g_assert_cmpint(tree_rename(b->store, "other", "d", 0), ==, -ENOTEMPTY);
	g_assert_cmpint(tree_rename(b->store, "other", "d", RENAME_NOREPLACE), ==, -EEXIST);
	g_assert_cmpint(tree_rmdir(b->store, "other", 0), ==, 0);
	g_assert_cmpint(tree_make(b->store, "other", &link), ==, 0);
	g_assert_cmpint(tree_rename(b->store, "other", "d", 0), ==, -EEXIST);
	g_assert_cmpint(tree_link(b->store, "other", "d"), ==, -EEXIST);
	g_assert_cmpint(tree_unlink(b->store, "other", 0), ==, 0);
	g_assert_true(g_file_test(full, G_FILE_TEST_EXISTS));
}

static void test_counts(void)
{
	struct box b;
	const struct tree_maker directory = maker(S_IFDIR | 0755), fifo = maker(S_IFIFO | 0644);

	box_new(&b);
	put_copy(&b, "d/copy", 1, 9000);
	put_copy(&b, "d/e/copy", 2, 10);
	g_assert_cmpint(tree_clears(b.store, "d"), ==, 0);
	put_kept(&b, "d/e/f/kept", 3);
	check_stays(&b, "d/e/f/kept");
	box_close(&b);
	box_open(&b);
	check_stays(&b, "d/e/f/kept");
	g_assert_cmpint(tree_unlink(b.store, "d/e/f/kept", 0), ==, 0);
	put_plain(&b, "d/plain");
	check_stays(&b, "d/plain");
	g_assert_cmpint(tree_unlink(b.store, "d/plain", 0), ==, 0);
	g_assert_cmpint(tree_make(b.store, "d/e/made", &directory), ==, 0);
	check_stays(&b, "d/e/made");
	g_assert_cmpint(tree_rmdir(b.store, "d/e/made", 0), ==, 0);
	g_assert_cmpint(tree_make(b.store, "d/e/fifo", &fifo), ==, 0);
	check_stays(&b, "d/e/fifo");
	g_assert_cmpint(tree_unlink(b.store, "d/e/fifo", 0), ==, 0);
	/* leftovers alone block no operation */
	put_copy(&b, "d/copy", 4, 9000);
	g_assert_cmpint(tree_clears(b.store, "d"), ==, 0);
	g_assert_cmpint(tree_make(b.store, "d", &directory), ==, 0);
	g_assert_cmpint(tree_rmdir(b.store, "d", 7), ==, 0);
	g_assert_cmpint(tree_clears(b.store, "d"), ==, 0);
	box_free(&b);
}

/* An unreadable file may hold local changes: it is set aside. */
static void test_damaged(void)
{
	struct box b;
	g_autofree char *record = NULL, *orphans = NULL, *d = NULL;

	box_new(&b);
	put_copy(&b, "d/copy", 1, 10);
	put_copy(&b, "d/record", 2, 10);
	record = box_tree(&b, "d/record");
	g_assert_cmpint(setxattr(record, RECORD_XATTR, "damaged", 7, 0), ==, 0);
	put_kept(&b, "d/origin", 3);
	g_autofree char *remove = g_strdup_printf("rm -r %s/state/origins", b.path);
	g_assert_true(g_spawn_command_line_sync(remove, NULL, NULL, NULL, NULL));
	g_assert_cmpint(tree_rmdir(b.store, "d", 7), ==, 0);
	orphans = box_state(&b, "orphans");
	g_assert_cmpuint(box_count(orphans), ==, 2);
	d = box_tree(&b, "d");
	g_assert_false(box_exists(d));
	box_free(&b);
}

/* So is one whose name is made again. */
static void test_damaged_name(void)
{
	const struct tree_maker file = maker(S_IFREG | 0644), link = maker(S_IFLNK | 0777);
	struct box b;
	g_autofree char *orphans = NULL;

	box_new(&b);
	orphans = box_state(&b, "orphans");
	for (unsigned n = 0; n < 2; n++) {
		g_autofree char *path = g_strdup_printf("f%u", n), *local = box_tree(&b, path);
		int fd;

		put_kept(&b, path, n);
		g_assert_cmpint(setxattr(local, RECORD_XATTR, "damaged", 7, 0), ==, 0);
		fd = n == 0 ? tree_make_file(b.store, path, &file)
		            : tree_make(b.store, path, &link);
		g_assert_cmpint(fd, >=, 0);
		if (n == 0)
			close(fd);
		g_assert_cmpuint(box_count(orphans), ==, n + 1);
	}
	put_copy(&b, "copy", 3, 10); /* no doubt: it goes */
	close(tree_make_file(b.store, "copy", &file));
	g_assert_cmpuint(box_count(orphans), ==, 2);
	box_free(&b);
}

/* A directory with an unreadable entry stays. */
static void test_unreadable(void)
{
	struct box b;
	g_autofree char *deep = NULL;
	struct rlimit before, none;
	int first;

	box_new(&b);
	put_copy(&b, "d/e/copy", 1, 10);
	deep = box_tree(&b, "d/e/copy");
	g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &before), ==, 0);
	first = dup(0);
	close(first);
	for (int left = 0; left < 8; left++) {
		none = before;
		none.rlim_cur = (rlim_t)(first + left);
		g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
		int err = tree_rmdir(b.store, "d", 7);
		g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &before), ==, 0);
		g_assert_true(err == 0 || err == -EMFILE);
		g_assert_true(err == 0 || left < 7);
		g_assert_true(err == 0 || g_file_test(deep, G_FILE_TEST_EXISTS));
		if (err == 0)
			break;
	}
	g_assert_false(g_file_test(deep, G_FILE_TEST_EXISTS));
	box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/clear/counts", test_counts);
	g_test_add_func("/clear/damaged", test_damaged);
	g_test_add_func("/clear/damaged-name", test_damaged_name);
	g_test_add_func("/clear/unreadable", test_unreadable);
	return g_test_run();
}
