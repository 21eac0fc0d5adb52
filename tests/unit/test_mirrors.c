/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Requests of one file, while its mirrors fail as told. */
#include "fake_mirrors.h"

/* Every class of failure goes to the next mirror; how many of them make the first one fail. */
static void test_classes(void)
{
	static const struct {
		int code;
		unsigned limit; /* failures until it has failed; 0: never */
	} classes[] = {
	        {FETCH_UNREACHABLE, 1}, {FETCH_TIMEOUT, 1}, {FETCH_SERVER, 3},  {FETCH_DENIED, 3},
	        {FETCH_PROTOCOL, 3},    {FETCH_MISSING, 0}, {FETCH_CHANGED, 0},
	};
	for (size_t c = 0; c < G_N_ELEMENTS(classes); c++) {
		struct world w;
		world_begin(&w, 2, 60000, 60000);
		w.fakes[0].code = classes[c].code;
		if (classes[c].limit != 1)
			detour_is_told();
		if (classes[c].limit != 0)
			failed_is_told();
		for (unsigned n = 1; n <= 5; n++) {
			struct answer a;
			char path[8];
			g_snprintf(path, sizeof(path), "f%u", n);
			g_assert_cmpint(read_file(&w, &a, path, 0), ==, GOOD);
			bool before = classes[c].limit == 0 || n <= classes[c].limit;
			g_assert_cmpuint(asked(&w, 0), ==, before);
			g_assert_cmpuint(asked(&w, 1), ==, 1);
			g_assert_cmpint(w.fakes[0].demand, ==, DEMAND_ANY);
			g_assert_cmpint(w.fakes[1].demand, ==, DEMAND_LISTED);
			g_assert_true(has_failed(&w, 0) ==
			              (classes[c].limit != 0 && n >= classes[c].limit));
		}
		g_test_assert_expected_messages();
		world_end(&w);
	}
}

/* A failure that another mirror would have, too. */
static void test_not_elsewhere(void)
{
	static const int codes[] = {FETCH_DIRECTORY, FETCH_USAGE, FETCH_CANCELLED};
	for (size_t c = 0; c < G_N_ELEMENTS(codes); c++) {
		struct world w;
		struct answer a;
		world_begin(&w, 2, 60000, 60000);
		w.fakes[0].code = codes[c];
		g_assert_cmpint(read_file(&w, &a, "f", 0), ==, codes[c]);
		g_assert_cmpuint(asked(&w, 1), ==, 0);
		g_assert_false(has_failed(&w, 0));
		world_end(&w);
	}
}

/* The first mirror dies within a read: the second continues in the same version, or not at all. */
static void test_middle(void)
{
	for (source_version other = 5; other <= 6; other++) {
		struct world w;
		struct answer a;
		world_begin(&w, 2, 60000, 60000);
		w.fakes[0].code = FETCH_UNREACHABLE;
		w.fakes[0].bytes = 300;
		w.fakes[1].version = other;
		failed_is_told();
		if (other == 6) /* told of the second one */
			g_test_expect_message("lacunafs", G_LOG_LEVEL_MESSAGE,
			                      "mirror 2 *another version");
		int code = read_file(&w, &a, "f", 0);
		g_assert_cmpuint(a.r.read.version, ==, 5);
		if (other == 5) {
			g_assert_cmpint(code, ==, GOOD);
			g_assert_cmpuint(asked(&w, 0), ==, 1);
		} else {
			g_assert_cmpint(code, ==, FETCH_UNREACHABLE);
			g_assert_cmpuint(a.next, ==, 300);
		}
		g_test_assert_expected_messages();
		world_end(&w);
	}
}

/* All bytes came, and then something that they must not be followed by: an error, and no request
 * of another mirror, as nothing is left to be requested; also after one that cannot be reached. */
static void test_after_the_end(void)
{
	for (unsigned bad = 0; bad < 2; bad++) {
		struct world w;
		struct answer a;
		world_begin(&w, bad + 2, 60000, 60000);
		w.fakes[0].code = FETCH_UNREACHABLE;
		w.fakes[bad].code = FETCH_PROTOCOL;
		w.fakes[bad].bytes = SIZE;
		if (bad == 1)
			failed_is_told();
		g_assert_cmpint(read_file(&w, &a, "f", 0), ==, FETCH_PROTOCOL);
		g_assert_cmpuint(a.next, ==, SIZE);
		g_assert_cmpuint(asked(&w, bad + 1), ==, 0);
		g_test_assert_expected_messages();
		world_end(&w);
	}
}

/* Another version at the first mirror: the file's own mirror is asked, and then first of all. */
static void test_pinned(void)
{
	struct world w;
	struct answer a;
	world_begin(&w, 3, 60000, 60000);
	w.fakes[0].version = 4;
	w.fakes[1].version = 6;
	detour_is_told();
	g_test_expect_message("lacunafs", G_LOG_LEVEL_MESSAGE, "mirror 2 *another version");
	for (unsigned n = 0; n < 3; n++) {
		g_assert_cmpint(read_file(&w, &a, "f", 5), ==, GOOD);
		g_assert_cmpuint(asked(&w, 0), ==, n == 0);
		g_assert_cmpuint(asked(&w, 1), ==, n == 0);
		g_assert_cmpuint(asked(&w, 2), ==, 1);
	}
	/* nobody has it: the first one's answer, and all were asked */
	g_assert_cmpint(read_file(&w, &a, "g", 9), ==, FETCH_CHANGED);
	g_assert_cmpuint(asked(&w, 0) + asked(&w, 1) + asked(&w, 2), ==, 3);
	g_test_assert_expected_messages();
	world_end(&w);
}

/* Back after the timer, by a test that no reader waits for. */
static void test_back(void)
{
	struct world w;
	struct answer a;
	world_begin(&w, 2, 50, 60000);
	w.fakes[0].code = FETCH_TIMEOUT;
	failed_is_told();
	g_assert_cmpint(read_file(&w, &a, "f", 0), ==, GOOD);
	g_assert_cmpuint(asked(&w, 0), ==, 1);
	w.fakes[0].code = GOOD;
	g_assert_cmpint(read_file(&w, &a, "f", 0), ==, GOOD);
	g_assert_cmpuint(asked(&w, 0), ==, 0);
	g_test_expect_message("lacunafs", G_LOG_LEVEL_MESSAGE, "mirror 1 * answers again after *");
	while (has_failed(&w, 0)) {
		g_usleep(5000);
		g_assert_cmpint(read_file(&w, &a, "f", 0), ==, GOOD);
	}
	asked(&w, 0);
	asked(&w, 1);
	g_assert_cmpint(read_file(&w, &a, "f2", 0), ==, GOOD);
	g_assert_cmpuint(asked(&w, 0), ==, 1);
	g_assert_cmpuint(asked(&w, 1), ==, 0);
	g_test_assert_expected_messages();
	world_end(&w);
}

/* A failed mirror is asked if no other can serve the file; if it does, it is used again. */
static void test_last_resort(void)
{
	struct world w;
	struct answer a;
	world_begin(&w, 2, 60000, 60000);
	w.fakes[0].code = FETCH_UNREACHABLE;
	failed_is_told();
	g_assert_cmpint(read_file(&w, &a, "f", 0), ==, GOOD);
	w.fakes[0].code = GOOD;
	w.fakes[1].code = FETCH_MISSING;
	g_test_expect_message("lacunafs", G_LOG_LEVEL_MESSAGE,
	                      "mirror 2 * did not serve a request*");
	g_test_expect_message("lacunafs", G_LOG_LEVEL_MESSAGE, "mirror 1 * answers again after *");
	g_assert_cmpint(read_file(&w, &a, "f", 0), ==, GOOD);
	g_assert_false(has_failed(&w, 0));
	g_test_assert_expected_messages();
	world_end(&w);
}

/* All limit the client: the first one's error, the earliest time, and no request before it. */
static void test_limited(void)
{
	struct world w;
	struct answer a;
	world_begin(&w, 2, 1, 60000);
	w.fakes[0].code = w.fakes[1].code = FETCH_SERVER;
	w.fakes[0].wait_ms = 60000;
	w.fakes[1].wait_ms = 30000;
	g_test_expect_message("lacunafs", G_LOG_LEVEL_MESSAGE, "mirror 1 *");
	g_test_expect_message("lacunafs", G_LOG_LEVEL_MESSAGE, "mirror 2 *");
	g_test_expect_message("lacunafs", G_LOG_LEVEL_WARNING, "mirror 1 * failed, mirror 2 *");
	g_test_expect_message("lacunafs", G_LOG_LEVEL_WARNING,
	                      "mirror 2 * failed, no other is left: *");
	for (unsigned n = 0; n < 4; n++) {
		int64_t begun = clock_now();
		char path[8];
		g_snprintf(path, sizeof(path), "f%u", n);
		g_assert_cmpint(read_file(&w, &a, path, 0), ==, FETCH_SERVER);
		int64_t left = a.r.read.base.retry_ns - begun;
		g_assert_true(left > 20000 * MS && left < 40000 * MS);
		g_assert_cmpuint(asked(&w, 0), ==, n < 3);
		g_assert_cmpuint(asked(&w, 1), ==, n < 3);
	}
	g_test_assert_expected_messages();
	world_end(&w);
}

/* One lacks the file, and the other wants to be asked later: the retry above asks it then. */
static void test_later(void)
{
	for (unsigned second = 0; second < 2; second++) {
		struct world w;
		struct answer a;
		world_begin(&w, 2, 60000, 60000);
		w.fakes[second].code = FETCH_SERVER;
		w.fakes[second].wait_ms = 30000;
		w.fakes[!second].code = FETCH_MISSING;
		for (unsigned n = 0; n < 2; n++) {
			g_assert_cmpint(read_file(&w, &a, "f", 0), ==, FETCH_SERVER);
			g_assert_cmpint(a.r.read.base.retry_ns, >, clock_now() + 10000 * MS);
		}
		world_end(&w);
	}
}

/* Closed while requests are on their way from mirror to mirror: each ends once. */
static void test_close(void)
{
	enum { MANY = 64 };
	for (unsigned round = 0; round < 50; round++) {
		struct world w;
		struct answer *all = g_new0(struct answer, MANY);
		world_begin(&w, 3, 1, 60000);
		w.fakes[0].code = w.fakes[1].code = FETCH_MISSING;
		w.fakes[round % 3].code = FETCH_CHANGED;
		for (unsigned i = 0; i < MANY; i++) {
			answer_init(&all[i], "f");
			all[i].r.stat.listed = 1;
			source_stat(w.source, &all[i].r.stat);
		}
		source_close(w.source);
		for (unsigned i = 0; i < MANY; i++) {
			g_assert_true(all[i].done);
			g_clear_error(&all[i].error);
			mutex_destroy(&all[i].lock);
			condition_destroy(&all[i].over);
		}
		g_free(all);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	/* GLib's calls localtime(), a data race for the thread sanitizer */
	g_log_set_default_handler(log_nothing, NULL);
	g_test_add_func("/mirrors/classes", test_classes);
	g_test_add_func("/mirrors/not-elsewhere", test_not_elsewhere);
	g_test_add_func("/mirrors/middle", test_middle);
	g_test_add_func("/mirrors/after-the-end", test_after_the_end);
	g_test_add_func("/mirrors/pinned", test_pinned);
	g_test_add_func("/mirrors/back", test_back);
	g_test_add_func("/mirrors/last-resort", test_last_resort);
	g_test_add_func("/mirrors/limited", test_limited);
	g_test_add_func("/mirrors/later", test_later);
	g_test_add_func("/mirrors/close", test_close);
	return g_test_run();
}
