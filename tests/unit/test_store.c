/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Opening a store: directories that become one, those that are refused, and the messages. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fetch/base/error.h"
#include "tests/unit/store_box.h"

static const struct store_settings TEST = {.source = "test:"};

static void refused(struct box *b, const struct store_settings *s, int code, const char *says)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(box_try(b, s, &error));
	g_assert_error(error, LOCAL_ERROR, code);
	g_assert_nonnull(strstr(error->message, says));
	g_assert_nonnull(strstr(error->message, b->path));
	g_assert_null(strchr(error->message, '\n'));
}

static void put(const char *path, const char *text)
{
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void test_new(void)
{
	struct box b;
	struct stat st;
	g_autoptr(GError) error = NULL;
	g_autofree char *tree = NULL, *deep = NULL, *settings = NULL, *text = NULL;
	uint64_t free_bytes = 0, total = 0;

	box_new(&b);
	g_assert_cmpint(stat(b.path, &st), ==, 0);
	g_assert_cmpuint(st.st_mode & 07777, ==, 0700);
	g_assert_cmpuint(box_count(b.path), ==, 2);
	tree = box_tree(&b, NULL);
	g_assert_cmpuint(box_count(tree), ==, 0);
	g_assert_cmpstr(store_path(b.store), ==, b.path);
	g_assert_cmpuint(store_chunk_shift(b.store), ==, 12);
	g_assert_cmpint(store_usage(b.store, &free_bytes, &total), ==, 0);
	g_assert_true(free_bytes > 0 && free_bytes <= total);
	box_close(&b);
	settings = box_state(&b, "settings");
	g_assert_true(g_file_get_contents(settings, &text, NULL, NULL));
	g_assert_nonnull(strstr(text, "format=1\n"));
	g_assert_nonnull(strstr(text, "source=test:\n"));
	/* its chunk size is remembered, and may be another for new files */
	b.store = box_try(&b, &TEST, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(store_chunk_shift(b.store), ==, 12);
	box_close(&b);
	b.store = box_try(&b, &(struct store_settings){.source = "test:", .chunk_shift = 20}, NULL);
	g_assert_cmpuint(store_chunk_shift(b.store), ==, 20);
	box_close(&b);
	/* with parents */
	deep = g_build_filename(b.root, "p", "q", "store", NULL);
	b.store = store_open(deep, &TEST, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(store_chunk_shift(b.store), ==, 16);
	box_free(&b);
}

static void test_in_use(void)
{
	struct box b;
	char says[64];
	int ready[2];
	pid_t pid;

	box_new(&b);
	g_snprintf(says, sizeof says, "in use by process %ld", (long)getpid());
	refused(&b, &TEST, EBUSY, says);
	box_close(&b);
	g_assert_cmpint(pipe(ready), ==, 0);
	pid = fork();
	if (pid == 0) { /* the lock ends with its holder, however that ends */
		box_open(&b);
		g_assert_cmpint(write(ready[1], "", 1), ==, 1);
		pause();
	}
	g_assert_cmpint(read(ready[0], says, 1), ==, 1);
	g_snprintf(says, sizeof says, "in use by process %ld", (long)pid);
	refused(&b, &TEST, EBUSY, says);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	box_open(&b);
	box_free(&b);
}

static void test_other_source(void)
{
	struct box b;
	struct store_settings s = {.source = "dir:/n\xf6t utf-8"};
	g_autoptr(GError) error = NULL;
	g_autofree char *other = NULL;

	box_new(&b);
	box_close(&b);
	refused(&b, &s, EBUSY, "test:");
	refused(&b, &(struct store_settings){.source = "http://h/x"}, EBUSY, "http://h/x");
	box_open(&b);
	box_close(&b);
	/* a path is bytes */
	other = g_build_filename(b.root, "other", NULL);
	b.store = store_open(other, &s, &error);
	g_assert_no_error(error);
	box_close(&b);
	b.store = store_open(other, &s, &error);
	g_assert_no_error(error);
	box_free(&b);
}

static void put_both(struct box *b, const char *text)
{
	g_autofree char *settings = box_state(b, "settings"), *copy = box_state(b, "settings.copy");

	put(settings, text);
	put(copy, text);
}

static void test_settings(void)
{
	struct box b;
	g_autofree char *settings = NULL, *copy = NULL, *text = NULL, *cut = NULL;

	box_new(&b);
	box_close(&b);
	settings = box_state(&b, "settings");
	copy = box_state(&b, "settings.copy");
	g_file_get_contents(settings, &text, NULL, NULL);
	put_both(&b, "[store]\nformat=2\nanything=new\n");
	refused(&b, &TEST, EPROTONOSUPPORT, "newer");
	put_both(&b, "");
	refused(&b, &TEST, EUCLEAN, "damaged");
	put_both(&b, "[store]\nsource=test:\nchunk_shift=12\n");
	refused(&b, &TEST, EUCLEAN, "damaged");
	put_both(&b, "[store]\nformat=1\nsource=test:\nchunk_shift=99\n");
	refused(&b, &TEST, EUCLEAN, "damaged");
	put_both(&b, "\x01\xff\n[[[\n=");
	refused(&b, &TEST, EUCLEAN, "damaged");
	cut = g_strndup(text, strlen(text) / 2);
	put_both(&b, cut);
	refused(&b, &TEST, EUCLEAN, "damaged");
	/* one of the two is enough, and restores the other */
	g_log_set_always_fatal(G_LOG_FATAL_MASK);
	for (size_t i = 0; i < strlen(text); i++) {
		g_autofree char *damaged = g_strdup(text);

		damaged[i] ^= 1 << i % 8;
		put_both(&b, text);
		put(settings, damaged);
		box_open(&b);
		box_close(&b);
	}
	put_both(&b, text);
	g_assert_cmpint(unlink(settings), ==, 0);
	box_open(&b);
	box_close(&b);
	g_assert_cmpint(unlink(copy), ==, 0);
	box_open(&b);
	box_close(&b);
	g_free(cut);
	g_file_get_contents(copy, &cut, NULL, NULL);
	g_assert_cmpstr(cut, ==, text);
	/* a copy of other settings, by an interrupted change */
	put(copy, "[store]\nformat=1\nsource=other:\nchunk_shift=12\n");
	box_open(&b);
	box_close(&b);
	g_free(cut);
	g_file_get_contents(copy, &cut, NULL, NULL);
	g_assert_cmpstr(cut, ==, text);
	box_free(&b);
}

static void test_not_a_store(void)
{
	struct box b;
	g_autofree char *thesis = NULL, *state = NULL, *settings = NULL, *lock = NULL;
	g_autofree char *copy = NULL;

	box_new(&b);
	{
		struct store_file *f = box_create(&b, "f", 1, 10);

		box_fill(f, 1, 0, 0);
		store_file_close(f);
	}
	box_crash(&b);
	settings = box_state(&b, "settings");
	copy = box_state(&b, "settings.copy");
	g_assert_cmpint(unlink(settings), ==, 0);
	g_assert_cmpint(unlink(copy), ==, 0);
	refused(&b, &TEST, ENOTEMPTY, "neither empty nor a store");
	box_free(&b);

	box_new(&b);
	box_close(&b);
	g_free(b.path);
	b.path = g_build_filename(b.root, "home", NULL);
	g_mkdir_with_parents(b.path, 0755);
	thesis = g_build_filename(b.path, "thesis", NULL);
	put(thesis, "precious");
	refused(&b, &TEST, ENOTEMPTY, "neither empty nor a store");
	g_assert_cmpuint(box_count(b.path), ==, 1);
	unlink(thesis);
	state = g_build_filename(b.path, "state", NULL);
	lock = g_build_filename(state, "of the art", NULL);
	g_mkdir_with_parents(state, 0755);
	put(lock, "");
	refused(&b, &TEST, ENOTEMPTY, "neither empty nor a store");
	g_assert_cmpuint(box_count(state), ==, 1);
	g_free(b.path);
	b.path = g_steal_pointer(&lock);
	refused(&b, &TEST, ENOTDIR, "Not a directory");
	box_free(&b);
}

/* Making a store stops at any step. */
static void test_half_made(void)
{
	static const char *const steps[] = {"settings", "epoch", "tmp", "lock"};
	struct box b;
	g_autofree char *tree = NULL, *half = NULL, *copy = NULL;

	box_new(&b);
	box_close(&b);
	half = box_state(&b, "settings.new");
	copy = box_state(&b, "settings.copy");
	put(half, "[sto");
	for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++) {
		for (unsigned k = 0; k <= i; k++) {
			g_autofree char *path = box_state(&b, steps[k]);

			g_assert_cmpint(remove(path), ==, 0);
		}
		g_assert_cmpint(remove(copy), ==, 0);
		box_open(&b);
		box_close(&b);
	}
	tree = box_tree(&b, NULL);
	g_assert_cmpint(rmdir(tree), ==, 0);
	box_open(&b);
	box_free(&b);
}

static void as_nobody(struct box *b, int code, const char *says)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (setgid(65534) < 0 || setuid(65534) < 0)
			_exit(3);
		refused(b, &TEST, code, says);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	g_assert_cmpint(status, ==, 0);
}

static void test_permission(void)
{
	struct box b;

	if (geteuid() != 0) {
		g_test_skip("needs root to become nobody");
		return;
	}
	box_new(&b);
	box_close(&b);
	g_assert_cmpint(chmod(b.root, 0755), ==, 0);
	as_nobody(&b, EACCES, "Permission denied");
	g_free(b.path);
	b.path = g_build_filename(b.root, "none", NULL);
	as_nobody(&b, EACCES, "Permission denied");
	box_free(&b);
}

/* Skips if a file system of `type` cannot be mounted. */
static bool mount_over(struct box *b, const char *type, const char *options)
{
	g_mkdir_with_parents(b->path, 0700);
	if (geteuid() == 0 && mount("test", b->path, type, 0, options) == 0)
		return true;
	g_test_skip("needs root to mount");
	return false;
}

static void test_no_xattrs(void)
{
	struct box b;

	box_new(&b);
	box_close(&b);
	g_free(b.path);
	b.path = g_build_filename(b.root, "ramfs", NULL);
	if (mount_over(&b, "ramfs", NULL)) {
		refused(&b, &TEST, EOPNOTSUPP, "user xattrs");
		umount(b.path);
	}
	box_free(&b);
}

static void test_read_only(void)
{
	struct box b;

	box_new(&b);
	box_close(&b);
	g_free(b.path);
	b.path = g_build_filename(b.root, "ro", NULL);
	if (mount_over(&b, "tmpfs", "ro")) {
		refused(&b, &TEST, EROFS, "Read-only");
		umount(b.path);
	}
	box_free(&b);
}

static void test_listings(void)
{
	struct box b;
	g_autofree char *path = NULL, *tmp = NULL;

	box_new(&b);
	g_assert_null(store_listing_load(b.store, 1));
	for (unsigned n = 0; n < 40; n++) {
		uint64_t ino = n * UINT64_C(0x123456789abcdef1) + 1;
		g_autoptr(GBytes) empty = g_bytes_new(NULL, 0), back = NULL, first = NULL;
		g_autofree char *text = g_strnfill(n * 5000, 'a' + n % 26);
		g_autoptr(GBytes) bytes = g_bytes_new(text, n * 5000);

		g_assert_cmpint(store_listing_save(b.store, ino, empty), ==, 0);
		first = store_listing_load(b.store, ino);
		g_assert_cmpuint(g_bytes_get_size(first), ==, 0);
		g_assert_cmpint(store_listing_save(b.store, ino, bytes), ==, 0);
		back = store_listing_load(b.store, ino);
		g_assert_true(g_bytes_equal(back, bytes));
	}
	box_close(&b);
	box_open(&b);
	{
		g_autoptr(GBytes) back =
		        store_listing_load(b.store, 2 * UINT64_C(0x123456789abcdef1) + 1);

		g_assert_cmpuint(g_bytes_get_size(back), ==, 10000);
	}
	path = box_state(&b, "dirs/01/0000000000000001");
	g_assert_true(box_exists(path));
	tmp = box_state(&b, "tmp");
	g_assert_cmpuint(box_count(tmp), ==, 0);
	/* something else in its place */
	g_assert_cmpint(unlink(path), ==, 0);
	g_assert_cmpint(symlink("/etc/passwd", path), ==, 0);
	g_assert_null(store_listing_load(b.store, 1));
	unlink(path);
	g_assert_cmpint(mkfifo(path, 0600), ==, 0);
	g_assert_null(store_listing_load(b.store, 1));
	box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/store/new", test_new);
	g_test_add_func("/store/in-use", test_in_use);
	g_test_add_func("/store/other-source", test_other_source);
	g_test_add_func("/store/settings", test_settings);
	g_test_add_func("/store/not-a-store", test_not_a_store);
	g_test_add_func("/store/half-made", test_half_made);
	g_test_add_func("/store/permission", test_permission);
	g_test_add_func("/store/no-xattrs", test_no_xattrs);
	g_test_add_func("/store/read-only", test_read_only);
	g_test_add_func("/store/listings", test_listings);
	return g_test_run();
}
