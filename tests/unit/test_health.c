/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* When a mirror counts as failed, and when it is tested. Times are numbers here. */
#include "fetch/source/wrap/health.h"
#include <glib.h>

static void test_health(void)
{
	struct health h = {0};
	g_assert_true(health_failed(&h, 99, 100, 10, 0));
	g_assert_false(health_failed(&h, 98, 101, 10, 0)); /* had begun before */
	g_assert_cmpint(h.until_ns, ==, 110);
	g_assert_false(health_test(&h, 109));
	g_assert_true(health_test(&h, 110));
	g_assert_false(health_test(&h, 111)); /* one at a time */
	g_assert_false(health_answered(&h, 111, false));
	static const int64_t backoffs[] = {20, 40, 80, 80};
	for (unsigned i = 0; i < G_N_ELEMENTS(backoffs); i++) {
		int64_t now = h.until_ns;
		g_assert_false(health_failed(&h, now, now, 10, 0));
		g_assert_cmpint(h.until_ns, ==, now + backoffs[i]);
	}
	int64_t back = h.until_ns;
	g_assert_true(health_answered(&h, back, true));
	/* it fails again soon: the back-off goes on growing; later, it begins anew */
	g_assert_true(health_failed(&h, back + 1, back + 1, 10, 0));
	g_assert_cmpint(h.backoff_ns, ==, 80);
	g_assert_true(health_answered(&h, back + 100, true));
	g_assert_true(health_failed(&h, back + 200, back + 200, 10, back + 1000));
	g_assert_cmpint(h.backoff_ns, ==, 10);
	g_assert_cmpint(h.until_ns, ==, back + 1000);
	/* refusals count if no other answer comes between */
	h = (struct health){0};
	for (unsigned i = 0; i < 4; i++) {
		g_assert_false(health_refused(&h, i, i, 10, 0));
		if (i == 1)
			g_assert_false(health_answered(&h, i, false));
	}
	g_assert_true(health_refused(&h, 5, 5, 10, 0));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/health/times", test_health);
	return g_test_run();
}
