/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/events/commits.h"
#include <errno.h>
#include <glib.h>

#define FILE_INO 7

/* The two that are under way together are two pieces of a file: one of them is not there. */
static void test_one_that_failed_is_not_forgotten_by_another(void)
{
	struct commits *c = commits_new();
	commits_begin(c, FILE_INO);
	commits_begin(c, FILE_INO);
	commits_end(c, FILE_INO, ENOSPC);
	g_assert_cmpint(commits_state(c, FILE_INO), ==, EINPROGRESS);
	commits_end(c, FILE_INO, 0);
	g_assert_cmpint(commits_state(c, FILE_INO), ==, EIO);
	commits_free(c);
}

static void test_brought_again_it_is_there(void)
{
	struct commits *c = commits_new();
	commits_begin(c, FILE_INO);
	commits_end(c, FILE_INO, ENOSPC);
	g_assert_cmpint(commits_state(c, FILE_INO), ==, EIO);
	g_assert_false(commits_any(c));
	commits_begin(c, FILE_INO);
	g_assert_true(commits_any(c));
	commits_end(c, FILE_INO, 0);
	g_assert_cmpint(commits_state(c, FILE_INO), ==, 0);
	commits_free(c);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/commits/failed", test_one_that_failed_is_not_forgotten_by_another);
	g_test_add_func("/commits/brought_again", test_brought_again_it_is_there);
	return g_test_run();
}
