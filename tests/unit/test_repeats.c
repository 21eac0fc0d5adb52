/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The lines that a log writes, with a clock of the test's own. */
#include "fuse/base/repeats.h"

#define SECOND INT64_C(1000000000)

static GPtrArray *before;

static const char *said(unsigned n)
{
	return n < before->len ? before->pdata[n] : NULL;
}

static bool pass(struct repeats *r, const char *text, double seconds)
{
	g_ptr_array_set_size(before, 0);
	return repeats_pass(r, text, (int64_t)(seconds * SECOND) + 1, before);
}

static void end(struct repeats *r)
{
	g_ptr_array_set_size(before, 0);
	repeats_end(r, before);
	g_free(r);
}

static void test_same(void)
{
	struct repeats *r = repeats_new();
	g_assert_true(pass(r, "a", 0));
	for (unsigned n = 0; n < 100000; n++)
		g_assert_false(pass(r, "a", 0.0005 * n));
	g_assert_cmpuint(before->len, ==, 0);
	g_assert_true(pass(r, "b", 59));
	g_assert_cmpuint(before->len, ==, 0);
	g_assert_true(pass(r, "c", 61));
	g_assert_cmpstr(said(0), ==, "100000 times more: a");
	g_assert_true(pass(r, "a", 62)); /* after a minute it is written again */
	g_assert_cmpuint(before->len, ==, 0);
	g_assert_false(pass(r, "a", 63));
	end(r);
	g_assert_cmpuint(before->len, ==, 1);
	g_assert_cmpstr(said(0), ==, "1 times more: a");
}

/* One cause for all ranges of a file. */
static void test_ranges(void)
{
	struct repeats *r = repeats_new();
	g_assert_true(pass(r, "http://h/f: no connect after 0 ms (bytes 0 to 65535 of /f)", 0));
	g_assert_false(pass(r, "http://h/f: no connect after 12 ms (bytes 65536 to 9 of /f)", 1));
	g_assert_true(pass(r, "http://h/f: no connect after 0 ms (bytes 0 to 65535 of /f2)", 2));
	g_assert_true(pass(r, "http://h/2: no connect after 0 ms (bytes 0 to 65535 of /f)", 3));
	g_assert_true(pass(r, "from 1 to 2", 4));
	g_assert_true(pass(r, "from 1 to 3", 5));
	end(r);
	g_assert_cmpuint(before->len, ==, 1);
	g_assert_true(g_str_has_prefix(said(0), "1 times more: http://h/f: no connect"));
}

/* An hour of different lines, a thousand a second: as many as are allowed. */
static void test_flood(void)
{
	struct repeats *r = repeats_new();
	unsigned passed = 0, told = 0;
	for (unsigned n = 0; n < 3600000; n++) {
		char text[32];
		g_snprintf(text, sizeof(text), "line %u", n);
		passed += pass(r, text, n / 1000.0);
		told += before->len;
	}
	g_assert_cmpuint(passed, >=, 36000);
	g_assert_cmpuint(passed, <=, 1000 + 36000 + 1);
	g_assert_cmpuint(told, <=, 36001);
	g_assert_true(pass(r, "later", 4000));
	g_assert_true(g_str_has_suffix(said(0), " lines were left out: too many came at once"));
	for (unsigned n = 0; n < 500; n++) {
		char text[32];
		g_snprintf(text, sizeof(text), "burst %u", n);
		g_assert_true(pass(r, text, 4100));
	}
	end(r);
}

/* More texts in turn than are remembered: none is lost, none is written twice. */
static void test_forgotten(void)
{
	struct repeats *r = repeats_new();
	uint64_t written = 0, counted = 0;
	for (unsigned n = 0; n < 900; n++) {
		char text[32];
		g_snprintf(text, sizeof(text), "text %u", n / 3 % 100);
		written += pass(r, text, n * 0.01);
		for (unsigned k = 0; k < before->len; k++)
			counted += g_ascii_strtoull(said(k), NULL, 10);
	}
	end(r);
	for (unsigned k = 0; k < before->len; k++)
		counted += g_ascii_strtoull(said(k), NULL, 10);
	g_assert_cmpuint(written + counted, ==, 900);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	before = g_ptr_array_new_with_free_func(g_free);
	g_test_add_func("/repeats/same", test_same);
	g_test_add_func("/repeats/ranges", test_ranges);
	g_test_add_func("/repeats/flood", test_flood);
	g_test_add_func("/repeats/forgotten", test_forgotten);
	int status = g_test_run();
	g_ptr_array_unref(before);
	return status;
}
