/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <glib.h>
#include "fuse/inode/mishap.h"

static void note(struct mishaps *m, uint64_t ino, int error)
{
	mishaps_note(m, (struct mishap){.ino = ino,
	                                .error = error,
	                                .at_ns = (int64_t)ino,
	                                .cause = g_strdup_printf("%d", error)});
}

static int error_of(struct mishaps *m, uint64_t ino)
{
	struct mishap found;
	if (!mishaps_find(m, ino, &found))
		return 0;
	g_autofree char *cause = found.cause;
	g_assert_cmpint(g_ascii_strtoll(cause, NULL, 10), ==, found.error);
	g_assert_cmpint(found.at_ns, ==, (int64_t)ino);
	return found.error;
}

static void test_last_of_each(void)
{
	struct mishaps *m = mishaps_new();
	g_assert_cmpint(error_of(m, 1), ==, 0);
	note(m, 1, EIO);
	note(m, 2, EACCES);
	note(m, 1, ENOSPC);
	g_assert_cmpint(error_of(m, 1), ==, ENOSPC);
	g_assert_cmpint(error_of(m, 2), ==, EACCES);
	mishaps_note(m, (struct mishap){.ino = 3, .error = EIO});
	struct mishap found;
	g_assert_true(mishaps_find(m, 3, &found));
	g_assert_null(found.cause);
	mishaps_free(m);
}

static void test_oldest_goes(void)
{
	struct mishaps *m = mishaps_new();
	for (uint64_t ino = 1; ino <= MISHAPS_MAX + 10; ino++)
		note(m, ino, EIO);
	for (uint64_t ino = 1; ino <= MISHAPS_MAX + 10; ino++)
		g_assert_cmpint(error_of(m, ino), ==, ino <= 10 ? 0 : EIO);
	mishaps_free(m);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/mishap/last_of_each", test_last_of_each);
	g_test_add_func("/mishap/oldest_goes", test_oldest_goes);
	return g_test_run();
}
