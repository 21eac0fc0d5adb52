/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/base/quota.h"
#include <glib.h>

#define START INT64_C(1000000000)

static void test_a_shortage_takes_an_eighth_of_what_there_is(void)
{
	struct quota q = {.normal = 1000};
	g_assert_cmpuint(quota_most(&q, START), ==, 1000);
	quota_lessen(&q, 80, START);
	g_assert_cmpuint(quota_most(&q, START), ==, 70);
	quota_lessen(&q, 2000, START + QUOTA_PAUSE_NS);
	g_assert_cmpuint(quota_most(&q, START + QUOTA_PAUSE_NS), <, 70);
}

static void test_many_who_tell_of_one_shortage_are_one(void)
{
	struct quota q = {.normal = 1000};
	for (int n = 0; n < 100; n++)
		quota_lessen(&q, 80, START + n);
	g_assert_cmpuint(quota_most(&q, START + 100), ==, 70);
}

static void test_it_grows_back(void)
{
	struct quota q = {.normal = 1000};
	quota_lessen(&q, 80, START);
	uint64_t before = quota_most(&q, START);
	for (int n = 1; n <= 10; n++) {
		uint64_t now = quota_most(&q, START + QUOTA_BACK_NS / 10 * n);
		g_assert_cmpuint(now, >, before);
		before = now;
	}
	g_assert_cmpuint(before, ==, 1000);
	g_assert_cmpuint(quota_most(&q, INT64_MAX), ==, 1000);
}

static void test_nothing_is_left_of_a_shortage_that_stays(void)
{
	struct quota q = {.normal = 8};
	for (int n = 0; n < 100; n++)
		quota_lessen(&q, quota_most(&q, START + n * QUOTA_PAUSE_NS),
		             START + n * QUOTA_PAUSE_NS);
	g_assert_cmpuint(quota_most(&q, START + 99 * QUOTA_PAUSE_NS), ==, 0);
	g_assert_cmpuint(quota_most(&q, START + 99 * QUOTA_PAUSE_NS + QUOTA_BACK_NS), ==, 8);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/quota/eighth", test_a_shortage_takes_an_eighth_of_what_there_is);
	g_test_add_func("/quota/one", test_many_who_tell_of_one_shortage_are_one);
	g_test_add_func("/quota/back", test_it_grows_back);
	g_test_add_func("/quota/nothing", test_nothing_is_left_of_a_shortage_that_stays);
	return g_test_run();
}
