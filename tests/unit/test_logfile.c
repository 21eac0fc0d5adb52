/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Files that a log may be opened as, also in a directory that all users may write to; and a full
 * log. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/base/error.h"
#include "fuse/base/logfile.h"

enum { SOMEBODY = 65534, FULL = 4 << 20 };

static char *folder, *file, *old, *other;

static void set_up(void)
{
	folder = g_dir_make_tmp("logfile-XXXXXX", NULL);
	file = g_build_filename(folder, "log", NULL);
	old = g_build_filename(folder, "log.1", NULL);
	other = g_build_filename(folder, "other", NULL);
	g_assert_cmpint(chmod(folder, 01777), ==, 0);
}

static void tear_down(void)
{
	g_unlink(file);
	g_unlink(old);
	g_rmdir(old);
	g_unlink(other);
	g_assert_cmpint(g_rmdir(folder), ==, 0);
	g_free(folder);
	g_free(file);
	g_free(old);
	g_free(other);
}

static void put(const char *path, const char *text)
{
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static char *content(const char *path)
{
	char *text = NULL;
	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	return text;
}

static void opens(void)
{
	g_autoptr(GError) error = NULL;
	int fd = logfile_open(file, &error);
	g_assert_no_error(error);
	g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
	g_assert_cmpint(fcntl(fd, F_GETFL) & (O_NONBLOCK | O_APPEND), ==, O_APPEND);
	close(fd);
}

static void refused(int code)
{
	g_autoptr(GError) error = NULL;
	g_assert_cmpint(logfile_open(file, &error), ==, -1);
	g_assert_error(error, LOCAL_ERROR, code);
	g_assert_true(g_str_has_prefix(error->message, file));
}

static void test_is_private(void)
{
	struct stat st;
	set_up();
	opens();
	g_assert_cmpint(stat(file, &st), ==, 0);
	g_assert_cmpint(st.st_mode & 07777, ==, 0600);
	opens();
	tear_down();
}

static void test_a_fifo(void)
{
	set_up();
	g_assert_cmpint(mkfifo(file, 0600), ==, 0);
	refused(ENXIO);
	int reader = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	opens();
	close(reader);
	tear_down();
}

static void test_second_names(void)
{
	set_up();
	put(other, "mine\n");
	g_assert_cmpint(link(other, file), ==, 0);
	refused(EACCES);
	g_assert_cmpint(chmod(folder, 0755), ==, 0);
	opens();
	tear_down();
}

static void test_links(void)
{
	set_up();
	put(other, "");
	g_assert_cmpint(symlink(other, file), ==, 0);
	opens();
	if (geteuid() == 0) {
		g_assert_cmpint(lchown(file, SOMEBODY, SOMEBODY), ==, 0);
		refused(EACCES);
	}
	tear_down();
}

static void test_of_somebody_else(void)
{
	if (geteuid() != 0) {
		g_test_skip("needs root to give a file away");
		return;
	}
	set_up();
	put(file, "");
	g_assert_cmpint(chown(file, SOMEBODY, SOMEBODY), ==, 0);
	refused(EACCES);
	g_assert_cmpint(chmod(folder, 0755), ==, 0);
	opens(); /* the administrator's, who may give logs to another user */
	g_assert_cmpint(chmod(folder, 01777), ==, 0);
	g_unlink(file);
	g_assert_cmpint(mkfifo(file, 0666), ==, 0);
	g_assert_cmpint(chown(file, SOMEBODY, SOMEBODY), ==, 0);
	int reader = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	refused(EACCES);
	close(reader);
	tear_down();
}

/* A log lives as long as its process. */
static struct logfile *log_new(const char *store)
{
	static struct logfile *all[16];
	static unsigned count;
	g_assert_cmpuint(count, <, G_N_ELEMENTS(all));
	return all[count++] = logfile_new(file, store);
}

static uint64_t say(struct logfile *f, const char *line)
{
	return logfile_write(f, line, strlen(line));
}

/* A log with one line, as long as it may be. */
static struct logfile *full_new(void)
{
	struct logfile *f = log_new(NULL);
	g_assert_cmpuint(say(f, "first\n"), ==, 0);
	g_assert_cmpint(truncate(file, FULL), ==, 0);
	return f;
}

static void test_rotates(void)
{
	set_up();
	struct logfile *f = full_new();
	g_assert_cmpuint(say(f, "second\n"), ==, 0);
	g_autofree char *now = content(file), *before = content(old);
	g_assert_cmpstr(now, ==, "second\n");
	g_assert_true(g_str_has_prefix(before, "first\n"));
	tear_down();
}

/* A large write is divided at the line that fills the file. */
static void test_divides(void)
{
	enum { LINE = 1000, LINES = 9000 };
	g_autofree char *text = g_malloc(LINE * LINES + 1);
	struct stat st;
	set_up();
	memset(text, 'x', LINE * LINES);
	for (unsigned n = 1; n <= LINES; n++)
		text[n * LINE - 1] = '\n';
	text[LINE * LINES] = '\0';
	struct logfile *f = log_new(NULL);
	g_assert_cmpuint(say(f, text), ==, 0);
	g_assert_cmpint(stat(old, &st), ==, 0);
	g_assert_cmpint(st.st_size, ==, FULL / LINE * LINE + LINE);
	g_assert_cmpint(stat(file, &st), ==, 0);
	g_assert_cmpint(st.st_size, ==, LINE * LINES - 2 * (FULL / LINE * LINE + LINE));
	tear_down();
}

/* A log that cannot be renamed does not grow without a limit either. */
static void test_cannot_be_renamed(void)
{
	set_up();
	g_assert_cmpint(mkdir(old, 0700), ==, 0);
	struct logfile *f = full_new();
	g_assert_cmpuint(say(f, "second\n"), ==, 0);
	g_autofree char *now = content(file);
	g_assert_cmpstr(now, ==, "second\n");
	tear_down();
}

/* A file that replaced the log while it was full is neither written to nor renamed. */
static void test_replaced(void)
{
	set_up();
	if (geteuid() != 0) {
		g_test_skip("needs root to give a link away");
		tear_down();
		return;
	}
	put(other, "precious\n");
	struct logfile *f = full_new();
	g_autofree char *moved = g_build_filename(folder, "moved", NULL);
	g_assert_cmpint(rename(file, moved), ==, 0);
	g_assert_cmpint(symlink(other, file), ==, 0);
	g_assert_cmpint(lchown(file, SOMEBODY, SOMEBODY), ==, 0);
	g_assert_cmpuint(say(f, "second\nthird\n"), ==, 2);
	g_autofree char *theirs = content(other), *ours = content(moved);
	g_assert_cmpstr(theirs, ==, "precious\n");
	g_assert_true(g_str_has_prefix(ours, "first\n"));
	g_assert_cmpint(access(old, F_OK), ==, -1);
	g_unlink(file);
	g_assert_cmpuint(say(f, "fourth\n"), ==, 0);
	g_autofree char *now = content(file);
	g_assert_cmpstr(now, ==, "fourth\n");
	g_unlink(moved);
	tear_down();
}

/* Lines wait for a store, some of them. */
static void test_waits_for_its_store(void)
{
	set_up();
	g_autofree char *tree = g_build_filename(folder, "tree", NULL);
	g_autofree char *state = g_build_filename(folder, "state", NULL);
	g_autofree char *many = g_strnfill(60000, 'x');
	many[59999] = '\n';
	struct logfile *f = log_new(folder);
	g_assert_cmpuint(say(f, "first\n"), ==, 0);
	g_assert_cmpuint(say(f, many), ==, 0);
	g_assert_cmpuint(say(f, many), ==, 1);
	g_assert_cmpint(mkdir(tree, 0700) + mkdir(state, 0700), ==, 0);
	g_assert_cmpuint(say(f, "last\n"), ==, 0);
	g_autofree char *text = content(file);
	g_assert_cmpuint(strlen(text), ==, 6 + 60000 + 5);
	g_assert_true(g_str_has_suffix(text, "x\nlast\n"));
	g_rmdir(tree);
	g_rmdir(state);
	tear_down();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/logfile/is_private", test_is_private);
	g_test_add_func("/logfile/a_fifo", test_a_fifo);
	g_test_add_func("/logfile/second_names", test_second_names);
	g_test_add_func("/logfile/links", test_links);
	g_test_add_func("/logfile/of_somebody_else", test_of_somebody_else);
	g_test_add_func("/logfile/rotates", test_rotates);
	g_test_add_func("/logfile/divides", test_divides);
	g_test_add_func("/logfile/cannot_be_renamed", test_cannot_be_renamed);
	g_test_add_func("/logfile/replaced", test_replaced);
	g_test_add_func("/logfile/waits_for_its_store", test_waits_for_its_store);
	return g_test_run();
}
