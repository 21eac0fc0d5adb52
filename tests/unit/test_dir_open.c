/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A directory source: what cannot be opened or listed. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/source/dir/dir.h"
#include "tests/unit/dir_box.h"

static void list_fails(struct dir_box *b, const char *path, enum fetch_error code)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *name = source_describe(b->source, path);

	g_assert_null(dir_box_list(b, path, NULL, &error));
	g_assert_error(error, FETCH_ERROR, (int)code);
	g_assert_nonnull(strstr(error->message, name));
	g_assert_true(g_str_has_prefix(name, "dir:/"));
	g_assert_true(g_str_has_suffix(name, path));
}

static void test_failures(void)
{
	struct dir_box b;

	dir_box_new(&b);
	dir_box_put(&b, "f", "", 0);
	mkdirat(b.fd, "d", 0755);
	symlinkat("d", b.fd, "inside");
	symlinkat("..", b.fd, "outside");
	symlinkat("/", b.fd, "top");
	list_fails(&b, "none", FETCH_MISSING);
	list_fails(&b, "d/none/x", FETCH_MISSING);
	list_fails(&b, "f", FETCH_MISSING);
	list_fails(&b, "inside", FETCH_MISSING);
	list_fails(&b, "outside", FETCH_MISSING);
	list_fails(&b, "top/etc", FETCH_MISSING);
	if (geteuid() == 0) {
		mkdirat(b.fd, "closed", 0000);
		g_assert_cmpint(seteuid(65534), ==, 0); /* every thread of ours */
		list_fails(&b, "closed", FETCH_DENIED);
		g_assert_cmpint(seteuid(0), ==, 0);
	}
	dir_box_free(&b);
}

static void test_open(void)
{
	struct source_options options = {.connections = 1};
	g_autoptr(GError) error = NULL;
	struct source *s;
	g_autofree char *name = NULL, *root = NULL;

	g_assert_null(dir_source_open("/no/such/place", &options, &error));
	g_assert_error(error, LOCAL_ERROR, ENOENT);
	g_assert_nonnull(strstr(error->message, "/no/such/place"));
	g_clear_error(&error);
	g_assert_null(dir_source_open("/etc/passwd", &options, &error));
	g_assert_error(error, LOCAL_ERROR, ENOTDIR);
	s = dir_source_open("/", &options, NULL);
	g_assert_true(s->xattrs);
	name = source_describe(s, "etc/passwd");
	g_assert_cmpstr(name, ==, "dir:/etc/passwd");
	root = source_describe(s, "");
	g_assert_cmpstr(root, ==, "dir:/");
	source_close(s);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/dir/failures", test_failures);
	g_test_add_func("/dir/open", test_open);
	return g_test_run();
}
