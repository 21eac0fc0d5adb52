/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A log: its lines, its size, and its end. */
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fuse/base/log.h"
#include "fuse/base/streams.h"

static char *folder, *file;
static int out;

static off_t size_of(const char *suffix)
{
	struct stat st;
	g_autofree char *path = g_strconcat(file, suffix, NULL);
	return stat(path, &st) == 0 ? st.st_size : -1;
}

static char *content(const char *suffix)
{
	char *text = NULL;
	g_autofree char *path = g_strconcat(file, suffix, NULL);
	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	return text;
}

static void test_escapes(void)
{
	g_message("a\033]0;x\a \xc2\x9b \xe2\x80\xae \xff http://me:secret@host/ end");
	g_assert_true(log_flush());
	g_autofree char *text = content("");
	g_assert_nonnull(strstr(
	        text,
	        "notice: a\\x1b]0;x\\x07 \\u009b \\u202e \\xff http://xxxxxxxxx@host/ end\n"));
}

static void test_repeats(void)
{
	for (unsigned n = 0; n < 100000; n++)
		g_warning("again");
	log_end();
	g_autofree char *text = content("");
	g_assert_nonnull(strstr(text, "notice: 99999 times more: again\n"));
	g_assert_cmpint(size_of(""), <, 4096);
}

/* Debug lines are not rate-limited; the file is bounded nevertheless, and has the last lines. */
static void test_rotates(void)
{
	char filler[201];
	memset(filler, 'x', 200);
	filler[200] = '\0';
	for (unsigned n = 0; n < 60000; n++)
		if (g_debug("line %u %s", n, filler), n % 1000 == 999)
			g_assert_true(log_flush());
	g_assert_cmpint(size_of(""), >, 0);
	/* and concurrent writes to standard output, as of this test's own handler */
	g_assert_cmpint(size_of(""), <=, 5 << 20);
	g_assert_cmpint(size_of(".1"), >=, 4 << 20);
	g_assert_cmpint(size_of(".1"), <=, 5 << 20);
	g_assert_cmpint(size_of(".1.1"), ==, -1);
	g_autofree char *text = content("");
	g_assert_nonnull(strstr(text, "line 59999 "));
	(void)!write(STDERR_FILENO, "by another way\n", 15); /* goes where the log is now */
	g_autofree char *after = content("");
	dup2(out, STDOUT_FILENO); /* the log had taken it over, too */
	g_assert_nonnull(strstr(after, "\nby another way\n"));
}

static void end_abort(void)
{
	abort();
}

static void end_error(void)
{
	g_error("the cause");
}

static void end_assert(void)
{
	g_assert_true(folder == NULL);
}

static void end_fault(void)
{
	raise(SIGSEGV);
}

static void end_exit(void)
{
	log_end();
	_exit(0);
}

/* The last lines of a process are written, however it ends while our code runs. */
static void test_ends(void)
{
	void (*const ends[])(void) = {end_abort, end_error, end_assert, end_fault, end_exit};
	const struct rlimit none = {0, 0};
	g_autofree char *log = g_strconcat(file, ".end", NULL);
	for (unsigned n = 0; n < G_N_ELEMENTS(ends); n++) {
		pid_t child = fork();
		if (child == 0) {
			setrlimit(RLIMIT_CORE, &none);
			signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would report a fault */
			log_start(log, NULL);
			streams_follow();
			for (unsigned line = 0; line < 3000; line++)
				g_debug("child %u line %u", n, line);
			ends[n]();
			_exit(1);
		}
		int status;
		g_assert_cmpint(waitpid(child, &status, 0), ==, child);
		g_assert_true(ends[n] == end_exit ? WIFEXITED(status) : WIFSIGNALED(status));
		g_autofree char *text = content(".end");
		g_autofree char *last = g_strdup_printf("child %u line 2999\n", n);
		g_assert_nonnull(strstr(text, last));
		g_assert_true(ends[n] != end_error || strstr(text, "CRITICAL: the cause\n"));
	}
	g_unlink(log);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	folder = g_dir_make_tmp("log-XXXXXX", NULL);
	file = g_build_filename(folder, "log", NULL);
	g_log_set_always_fatal(G_LOG_LEVEL_ERROR);
	g_setenv("G_MESSAGES_DEBUG", "all", TRUE);
	int err = dup(STDERR_FILENO);
	out = dup(STDOUT_FILENO);
	test_ends(); /* before there is a thread of this process */
	log_start(file, NULL);
	g_test_add_func("/log/escapes", test_escapes);
	g_test_add_func("/log/repeats", test_repeats);
	g_info("open");
	g_assert_true(log_flush());
	streams_follow();
	dup2(out, STDOUT_FILENO);
	g_test_add_func("/log/rotates", test_rotates);
	int status = g_test_run();
	dup2(err, STDERR_FILENO);
	const char *const suffixes[] = {"", ".1"};
	for (unsigned n = 0; n < G_N_ELEMENTS(suffixes); n++) {
		g_autofree char *path = g_strconcat(file, suffixes[n], NULL);
		g_unlink(path);
	}
	g_rmdir(folder);
	g_free(folder);
	g_free(file);
	return status;
}
