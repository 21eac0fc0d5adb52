/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Whose listing a directory has, while its mirrors fail as told. */
#include "fake_mirrors.h"

/* A listing stays while its mirror has failed; an earlier mirror replaces it. */
static void test_listing(void)
{
	struct world w;
	struct answer a;
	world_begin(&w, 2, 60000, UINT_MAX);
	w.fakes[0].code = FETCH_MISSING;
	detour_is_told();
	g_assert_cmpint(list_directory(&w, &a, NULL), ==, GOOD);
	struct listing *second = a.r.list.listing;
	g_assert_true(made_by(&w, second, 1));
	g_test_assert_expected_messages();
	w.fakes[0].code = GOOD;
	g_assert_cmpint(list_directory(&w, &a, second), ==, GOOD);
	struct listing *first = a.r.list.listing;
	g_assert_true(made_by(&w, first, 0));
	asked(&w, 1);
	/* its mirror says that it is gone: so it is, whatever the other has */
	w.fakes[0].code = FETCH_MISSING;
	g_assert_cmpint(list_directory(&w, &a, first), ==, FETCH_MISSING);
	/* a refusal says nothing of it */
	w.fakes[0].code = FETCH_DENIED;
	g_assert_cmpint(list_directory(&w, &a, first), ==, FETCH_CANCELLED);
	w.fakes[0].code = FETCH_PROTOCOL;
	g_assert_cmpint(list_directory(&w, &a, first), ==, FETCH_CANCELLED);
	w.fakes[0].code = FETCH_UNREACHABLE;
	failed_is_told();
	for (unsigned n = 0; n < 2; n++) {
		asked(&w, 0);
		g_assert_cmpint(list_directory(&w, &a, first), ==, FETCH_CANCELLED);
		g_assert_cmpuint(asked(&w, 0), ==, n == 0);
	}
	g_assert_cmpuint(asked(&w, 1), ==, 0);
	/* one that is not listed yet comes from the other */
	g_assert_cmpint(list_directory(&w, &a, NULL), ==, GOOD);
	g_assert_true(made_by(&w, a.r.list.listing, 1));
	listing_unref(a.r.list.listing);
	/* no mirror is left: the source cannot be reached */
	w.fakes[1].code = FETCH_UNREACHABLE;
	g_test_expect_message("lacunafs", G_LOG_LEVEL_WARNING,
	                      "mirror 2 * failed, no other is left: *");
	g_assert_cmpint(list_directory(&w, &a, NULL), ==, FETCH_UNREACHABLE);
	g_assert_cmpint(list_directory(&w, &a, first), ==, FETCH_UNREACHABLE);
	g_test_assert_expected_messages();
	listing_unref(first);
	listing_unref(second);
	world_end(&w);
}

/* A directory that only the second mirror has is not gone while that one cannot be reached. */
static void test_not_gone(void)
{
	struct world w;
	struct answer a;
	world_begin(&w, 2, 60000, UINT_MAX);
	w.fakes[0].code = FETCH_MISSING;
	detour_is_told();
	g_assert_cmpint(list_directory(&w, &a, NULL), ==, GOOD);
	struct listing *second = a.r.list.listing;
	w.fakes[1].code = FETCH_TIMEOUT;
	g_test_expect_message("lacunafs", G_LOG_LEVEL_WARNING, "mirror 2 * failed, mirror 1 *");
	for (unsigned n = 0; n < 2; n++)
		g_assert_cmpint(list_directory(&w, &a, second), ==, FETCH_CANCELLED);
	g_test_assert_expected_messages();
	listing_unref(second);
	world_end(&w);
}

/* … but not for ever. */
static void test_takeover(void)
{
	struct world w;
	struct answer a;
	world_begin(&w, 2, 60000, 50);
	g_assert_cmpint(list_directory(&w, &a, NULL), ==, GOOD);
	struct listing *first = a.r.list.listing;
	w.fakes[0].code = FETCH_UNREACHABLE;
	failed_is_told();
	g_assert_cmpint(list_directory(&w, &a, first), ==, FETCH_CANCELLED);
	g_usleep(60000);
	g_assert_cmpint(list_directory(&w, &a, first), ==, GOOD);
	g_assert_true(made_by(&w, a.r.list.listing, 1));
	g_assert_true(source_shape_is(w.source, listing_validator(a.r.list.listing)));
	g_assert_false(source_shape_is(w.source, "O0000000000000063"));
	listing_unref(a.r.list.listing);
	listing_unref(first);
	g_test_assert_expected_messages();
	world_end(&w);
}

/* The first mirror's version of a file, while only its own listings are used, and afterwards. */
static void test_demand(void)
{
	struct world w;
	struct answer a;
	for (unsigned stored = 0; stored < 2; stored++) {
		world_begin(&w, 2, 60000, UINT_MAX);
		g_assert_cmpint(list_directory(&w, &a, NULL), ==, GOOD);
		listing_unref(a.r.list.listing);
		g_assert_cmpint(read_file(&w, &a, "f", 0), ==, GOOD);
		g_assert_cmpint(w.fakes[0].demand, ==, DEMAND_ANY);
		g_autofree char *validator = g_strdup_printf("O%016" G_GINT64_MODIFIER "x",
		                                             (guint64)w.fakes[1].base.shape);
		if (stored) {
			g_assert_true(source_shape_is(w.source, validator));
		} else {
			w.fakes[0].code = FETCH_MISSING;
			detour_is_told();
			g_assert_cmpint(list_directory(&w, &a, NULL), ==, GOOD);
			listing_unref(a.r.list.listing);
			w.fakes[0].code = GOOD;
		}
		g_assert_cmpint(read_file(&w, &a, "f", 0), ==, GOOD);
		g_assert_cmpint(w.fakes[0].demand, ==, DEMAND_NO_OLDER);
		g_test_assert_expected_messages();
		world_end(&w);
	}
}

/* A listing made with other options, so that nobody knows by which mirror: as one of the first, but
 * gone only if all say so. */
static void test_unknown_maker(void)
{
	struct world w;
	struct answer a;
	world_begin(&w, 2, 60000, 1000);
	g_assert_cmpint(list_directory(&w, &a, NULL), ==, GOOD);
	struct listing *old = a.r.list.listing;
	for (unsigned i = 0; i < 2; i++)
		w.fakes[i].base.shape += 100;
	w.fakes[0].code = FETCH_MISSING;
	detour_is_told();
	g_assert_cmpint(list_directory(&w, &a, old), ==, GOOD);
	g_assert_true(made_by(&w, a.r.list.listing, 1));
	listing_unref(a.r.list.listing);
	w.fakes[1].code = FETCH_MISSING;
	g_test_expect_message("lacunafs", G_LOG_LEVEL_MESSAGE, "mirror 2 *");
	g_assert_cmpint(list_directory(&w, &a, old), ==, FETCH_MISSING);
	w.fakes[1].code = FETCH_DENIED;
	g_assert_cmpint(list_directory(&w, &a, old), ==, FETCH_CANCELLED);
	w.fakes[1].code = GOOD;
	asked(&w, 1);
	w.fakes[0].code = FETCH_UNREACHABLE;
	failed_is_told();
	g_assert_cmpint(list_directory(&w, &a, old), ==, FETCH_CANCELLED);
	g_assert_cmpuint(asked(&w, 1), ==, 0);
	g_usleep(1100000);
	g_assert_cmpint(list_directory(&w, &a, old), ==, GOOD);
	g_assert_true(made_by(&w, a.r.list.listing, 1));
	listing_unref(a.r.list.listing);
	listing_unref(old);
	g_test_assert_expected_messages();
	world_end(&w);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	/* GLib's calls localtime(), a data race for the thread sanitizer */
	g_log_set_default_handler(log_nothing, NULL);
	g_test_add_func("/mirrors/listing", test_listing);
	g_test_add_func("/mirrors/not-gone", test_not_gone);
	g_test_add_func("/mirrors/takeover", test_takeover);
	g_test_add_func("/mirrors/demand", test_demand);
	g_test_add_func("/mirrors/unknown-maker", test_unknown_maker);
	return g_test_run();
}
