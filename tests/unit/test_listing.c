/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/error.h"
#include "fetch/base/listing.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

static struct listing_entry file_entry(uint64_t ino, uint64_t size, int64_t mtime_ns)
{
	return (struct listing_entry){.ino = ino,
	                              .size = size,
	                              .mtime_ns = mtime_ns,
	                              .mode = S_IFREG | 0644,
	                              .nlink = 1,
	                              .flags = LISTING_MTIME_KNOWN};
}

static bool add(struct listing_builder *b, const char *name, struct listing_entry e)
{
	return listing_builder_add(b, name, strlen(name), &e, NULL, NULL, NULL);
}

static uint32_t index_of(const struct listing *l, const char *name)
{
	uint32_t index = UINT32_MAX;
	g_assert_true(listing_find(l, name, &index));
	g_assert_cmpstr(listing_name(l, listing_at(l, index)), ==, name);
	return index;
}

static uint32_t cookie_of(const struct listing *l, const char *name)
{
	return listing_at(l, index_of(l, name))->cookie;
}

static void test_names(void)
{
	struct {
		const char *name;
		size_t length;
		bool fine;
	} names[] = {
	        {"a", 1, true},        {"..a", 3, true},  {"...", 3, true},    {" ", 1, true},
	        {"\xff\xfe", 2, true}, {"a\\b", 3, true}, {"", 0, false},      {".", 1, false},
	        {"..", 2, false},      {"a/b", 3, false}, {"/", 1, false},     {"a\0b", 3, false},
	        {"a\nb", 3, true},     {"\x7f", 1, true}, {"\x1b[m", 3, true},
	};
	struct listing_builder *b = listing_builder_new();
	struct listing_entry e = file_entry(7, 1, 1);
	uint32_t fine = 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autoptr(GError) error = NULL;
		bool added = listing_builder_add(b, names[i].name, names[i].length, &e, NULL, NULL,
		                                 &error);
		g_assert_cmpint(added, ==, names[i].fine);
		fine += added;
		if (!added)
			g_assert_error(error, FETCH_ERROR, FETCH_PROTOCOL);
	}
	char longest[257];
	memset(longest, 'n', sizeof longest);
	g_assert_true(listing_builder_add(b, longest, 255, &e, NULL, NULL, NULL));
	g_assert_false(listing_builder_add(b, longest, 256, &e, NULL, NULL, NULL));
	e.ino = 0;
	g_assert_false(add(b, "no-ino", e));
	e.ino = 7;
	e.mode = 0644;
	g_assert_false(add(b, "no-type", e));
	e.mode = S_IFLNK | 0777;
	g_assert_false(add(b, "no-target", e));
	struct listing *l = listing_builder_finish(b, NULL, 5, NULL);
	g_assert_cmpuint(listing_count(l), ==, fine + 1);
	g_assert_cmpstr(listing_validator(l), ==, "");
	g_assert_cmpint(listing_checked(l), ==, 5);
	listing_unref(l);
}

static void test_order_and_lookup(void)
{
	static const char *const names[] = {"zeta", "alpha", "mid", "Alpha", "a", "zz", "\xc3\xa9"};
	struct listing_builder *b = listing_builder_new();
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		g_assert_true(add(b, names[i], file_entry(i + 10, i, i)));
	g_assert_true(add(b, "mid", file_entry(99, 99, 99))); /* the first stays */
	struct listing *l = listing_builder_finish(b, "W/\"x\"", 1, NULL);
	g_assert_cmpuint(listing_count(l), ==, G_N_ELEMENTS(names));
	g_assert_cmpstr(listing_validator(l), ==, "W/\"x\"");
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		const struct listing_entry *e = listing_at(l, i);
		g_assert_cmpstr(listing_name(l, e), ==, names[i]);
		g_assert_cmpuint(index_of(l, names[i]), ==, i);
		g_assert_cmpuint(e->ino, ==, i + 10);
		g_assert_cmpuint(e->cookie, >, i == 0 ? 0 : listing_at(l, i - 1)->cookie);
		g_assert_cmpuint(listing_after(l, e->cookie), ==, i + 1);
	}
	g_assert_cmpuint(listing_after(l, 0), ==, 0);
	uint32_t index;
	g_assert_false(listing_find(l, "", &index));
	g_assert_false(listing_find(l, "alph", &index));
	g_assert_false(listing_find(l, "alphaa", &index));
	listing_unref(l);
}

static struct listing *listing_of(const char *const *names, const struct listing *previous)
{
	struct listing_builder *b = listing_builder_new();
	for (; *names != NULL; names++)
		g_assert_true(
		        add(b, *names, file_entry(XXH3_64bits(*names, strlen(*names)), 1, 1)));
	return listing_builder_finish(b, "", 1, previous);
}

static void test_cookies_survive(void)
{
	struct listing *one = listing_of((const char *[]){"a", "b", "c", "d", NULL}, NULL);
	struct listing *two = listing_of((const char *[]){"x", "d", "b", "a", NULL}, one);
	/* "c" is gone, "x" is new: entries that a reader saw keep their cookies */
	g_assert_cmpuint(listing_count(two), ==, 4);
	g_assert_cmpstr(listing_name(two, listing_at(two, 0)), ==, "a");
	g_assert_cmpstr(listing_name(two, listing_at(two, 1)), ==, "b");
	g_assert_cmpstr(listing_name(two, listing_at(two, 2)), ==, "d");
	g_assert_cmpstr(listing_name(two, listing_at(two, 3)), ==, "x");
	for (unsigned i = 0; i < 3; i++) {
		const char *name = (const char *[]){"a", "b", "d"}[i];
		g_assert_cmpuint(cookie_of(two, name), ==, cookie_of(one, name));
	}
	uint32_t of_c = cookie_of(one, "c"), of_x = cookie_of(two, "x");
	g_assert_cmpuint(of_x, >, cookie_of(one, "d"));
	g_assert_cmpuint(listing_after(two, of_c), ==, 2);

	/* the last one goes and comes again: its cookie is not given out twice */
	struct listing *three = listing_of((const char *[]){"a", NULL}, two);
	struct listing *four = listing_of((const char *[]){"a", "x", NULL}, three);
	g_assert_cmpuint(cookie_of(four, "x"), >, of_x);
	listing_unref(one);
	listing_unref(two);
	listing_unref(three);
	listing_unref(four);
}

static void test_identity_changes(void)
{
	struct listing_builder *b = listing_builder_new();
	add(b, "same", file_entry(5, 1, 1));
	add(b, "other-ino", file_entry(6, 1, 1));
	add(b, "other-type", file_entry(7, 1, 1));
	struct listing *one = listing_builder_finish(b, "", 1, NULL);
	b = listing_builder_new();
	struct listing_entry dir = file_entry(7, 0, 1);
	dir.mode = S_IFDIR | 0755;
	add(b, "other-type", dir);
	add(b, "other-ino", file_entry(66, 1, 1));
	add(b, "same", file_entry(5, 2, 2));
	struct listing *two = listing_builder_finish(b, "", 1, one);
	g_assert_cmpuint(cookie_of(two, "same"), ==, cookie_of(one, "same"));
	g_assert_cmpuint(cookie_of(two, "other-ino"), >, cookie_of(one, "other-type"));
	g_assert_cmpuint(cookie_of(two, "other-type"), >, cookie_of(one, "other-type"));
	listing_unref(one);
	listing_unref(two);
}

static void test_resolved(void)
{
	static const char *const names[] = {"kept", "size-changed", "time-changed", "exact-now",
	                                    "never-asked"};
	struct listing_builder *b = listing_builder_new();
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		add(b, names[i], file_entry(i + 2, 1024, 60));
	struct listing *one = listing_builder_finish(b, "", 1, NULL);
	for (unsigned i = 0; i < 4; i++)
		listing_resolve(one, index_of(one, names[i]), 1000 + i, true, 61);
	const struct listing_entry *kept = listing_at(one, index_of(one, "kept"));
	g_assert_cmpuint(kept->size, ==, 1000);
	g_assert_cmpint(kept->mtime_ns, ==, 61);
	g_assert_cmpuint(kept->flags, ==,
	                 LISTING_SIZE_EXACT | LISTING_MTIME_KNOWN | LISTING_RESOLVED);

	/* through the store, and a refresh after it: resolved attributes are kept */
	g_autoptr(GBytes) bytes = listing_to_bytes(one);
	struct listing *loaded = listing_from_bytes(bytes, NULL);
	g_assert_nonnull(loaded);
	struct listing *previous = loaded;
	for (unsigned round = 0; round < 2; round++) {
		b = listing_builder_new();
		add(b, "kept", file_entry(2, 1024, 60));
		add(b, "size-changed", file_entry(3, 2048, 60));
		add(b, "time-changed", file_entry(4, 1024, 120));
		struct listing_entry exact = file_entry(5, 1024, 60);
		exact.flags |= LISTING_SIZE_EXACT;
		add(b, "exact-now", exact);
		add(b, "never-asked", file_entry(6, 1024, 60));
		struct listing *next = listing_builder_finish(b, "", 1, previous);
		const struct listing_entry *e = listing_at(next, index_of(next, "kept"));
		g_assert_cmpuint(e->size, ==, 1000);
		g_assert_cmpint(e->mtime_ns, ==, 61);
		g_assert_cmpuint(e->flags, ==, kept->flags);
		e = listing_at(next, index_of(next, "size-changed"));
		g_assert_cmpuint(e->size, ==, 2048);
		g_assert_cmpuint(e->flags, ==, LISTING_MTIME_KNOWN);
		e = listing_at(next, index_of(next, "time-changed"));
		g_assert_cmpint(e->mtime_ns, ==, 120);
		g_assert_cmpuint(e->flags, ==, LISTING_MTIME_KNOWN);
		e = listing_at(next, index_of(next, "exact-now"));
		g_assert_cmpuint(e->size, ==, 1024);
		g_assert_cmpuint(e->flags, ==, LISTING_SIZE_EXACT | LISTING_MTIME_KNOWN);
		e = listing_at(next, index_of(next, "never-asked"));
		g_assert_cmpuint(e->flags, ==, LISTING_MTIME_KNOWN);
		listing_unref(previous);
		previous = next;
	}
	/* an entry found to be of an older version is resolved again, others are not */
	uint32_t doubted = index_of(previous, "kept"), exact = index_of(previous, "exact-now");
	listing_unresolve(previous, doubted);
	listing_unresolve(previous, exact);
	g_assert_cmpuint(listing_at(previous, doubted)->flags, ==, LISTING_MTIME_KNOWN);
	g_assert_cmpuint(listing_at(previous, doubted)->size, ==, 1000);
	g_assert_cmpuint(listing_at(previous, exact)->flags & LISTING_SIZE_EXACT, !=, 0);
	b = listing_builder_new();
	add(b, "kept", file_entry(2, 1024, 60));
	struct listing *next = listing_builder_finish(b, "", 1, previous);
	g_assert_cmpuint(listing_at(next, 0)->flags, ==, LISTING_MTIME_KNOWN);
	listing_unref(next);
	listing_unref(previous);
	listing_unref(one);
}

static void *resolve_all(void *user)
{
	struct listing *l = user;
	for (unsigned round = 1; round <= 20; round++)
		for (uint32_t i = 0; i < listing_count(l); i++)
			listing_resolve(l, i, round, true, round);
	return NULL;
}

/* Attributes arrive while the listing is saved and followed by the next: neither takes over
 * a size without its time. */
static void test_resolved_meanwhile(void)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	for (unsigned i = 0; i < 500; i++)
		g_ptr_array_add(names, g_strdup_printf("f%u", i));
	g_ptr_array_add(names, NULL);
	struct listing *l = listing_of((const char *const *)names->pdata, NULL);
	pthread_t thread;
	g_assert_cmpint(pthread_create(&thread, NULL, resolve_all, l), ==, 0);
	for (unsigned round = 0; round < 10; round++) {
		g_autoptr(GBytes) bytes = listing_to_bytes(l);
		struct listing *both[] = {
		        listing_from_bytes(bytes, NULL),
		        listing_of((const char *const *)names->pdata, l),
		};
		listing_set_checked(l, round);
		for (unsigned b = 0; b < G_N_ELEMENTS(both); b++) {
			for (uint32_t i = 0; i < listing_count(both[b]); i++) {
				const struct listing_entry *e = listing_at(both[b], i);
				g_assert_cmpint(e->mtime_ns, ==, e->size);
			}
			listing_unref(both[b]);
		}
	}
	g_assert_cmpint(pthread_join(thread, NULL), ==, 0);
	listing_unref(l);
}

static uint64_t identify(const char *name, size_t name_len, void *user)
{
	return XXH3_64bits(name, name_len) | *(uint64_t *)user;
}

static void test_identify(void)
{
	struct listing_builder *b = listing_builder_new();
	uint64_t bit = UINT64_C(1) << 63;
	add(b, "one", file_entry(1, 1, 1));
	add(b, "two", file_entry(1, 1, 1));
	listing_builder_identify(b, identify, &bit);
	struct listing *l = listing_builder_finish(b, "", 1, NULL);
	g_assert_cmpuint(listing_at(l, 0)->ino, ==, XXH3_64bits("one", 3) | bit);
	g_assert_cmpuint(listing_at(l, 1)->ino, ==, XXH3_64bits("two", 3) | bit);
	listing_unref(l);
}

static struct listing *million_new(unsigned count, unsigned from, const struct listing *previous)
{
	struct listing_builder *b = listing_builder_new();
	char name[64];
	for (unsigned i = from; i < from + count; i++) {
		struct listing_entry e = file_entry(i + 2, i, i);
		int length = snprintf(name, sizeof name, "a-common-prefix-%07u.tar.gz", i);
		g_assert_true(listing_builder_add(b, name, length, &e, NULL, NULL, NULL));
	}
	return listing_builder_finish(b, "", 1, previous);
}

/* Prints the time; asserts the memory, and that all names are found. */
static void test_million(void)
{
	unsigned count = g_test_perf() ? 1000000 : 50000;
	g_test_timer_start();
	struct listing *l = million_new(count, 0, NULL);
	g_test_message("%u entries built in %.3f s", count, g_test_timer_elapsed());
	g_test_timer_start();
	g_autoptr(GBytes) bytes = listing_to_bytes(l);
	g_test_message("%zu bytes each to the store in %.3f s", g_bytes_get_size(bytes) / count,
	               g_test_timer_elapsed());
	g_assert_cmpuint(g_bytes_get_size(bytes) / count, <=, 80 + 31);
	g_test_timer_start();
	struct listing *loaded = listing_from_bytes(bytes, NULL);
	g_test_message("checked and loaded in %.3f s", g_test_timer_elapsed());
	g_assert_nonnull(loaded);
	g_test_timer_start();
	for (unsigned i = 0; i < count; i++) {
		uint32_t index;
		g_assert_true(
		        listing_find(loaded, listing_name(loaded, listing_at(loaded, i)), &index));
		g_assert_cmpuint(index, ==, i);
	}
	g_test_message("each looked up in %.3f s", g_test_timer_elapsed());
	g_test_timer_start();
	struct listing *next = million_new(count, count / 2, loaded);
	g_test_message("refreshed, half of it new, in %.3f s", g_test_timer_elapsed());
	g_assert_cmpuint(listing_count(next), ==, count);
	g_assert_cmpuint(listing_at(next, 0)->cookie, ==, listing_at(l, count / 2)->cookie);
	listing_unref(next);
	listing_unref(loaded);
	listing_unref(l);
}

static void test_errors(void)
{
	struct {
		GQuark domain;
		int code, as_listing, as_read;
		bool transient;
	} cases[] = {
	        {FETCH_ERROR, FETCH_UNREACHABLE, EIO, EIO, true},
	        {FETCH_ERROR, FETCH_TIMEOUT, EIO, EIO, true},
	        {FETCH_ERROR, FETCH_SERVER, EIO, EIO, true},
	        {FETCH_ERROR, FETCH_DENIED, EACCES, EACCES, false},
	        {FETCH_ERROR, FETCH_MISSING, ENOENT, EIO, false},
	        {FETCH_ERROR, FETCH_CHANGED, EIO, EIO, false},
	        {FETCH_ERROR, FETCH_PROTOCOL, EIO, EIO, false},
	        {FETCH_ERROR, FETCH_CANCELLED, EIO, EIO, false},
	        {FETCH_ERROR, FETCH_USAGE, EIO, EIO, false},
	        {LOCAL_ERROR, ENOSPC, ENOSPC, ENOSPC, false},
	        {LOCAL_ERROR, 0, EIO, EIO, false},
	        {LOCAL_ERROR, -ENOSPC, EIO, EIO, false},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) e = g_error_new_literal(cases[i].domain, cases[i].code, "x");
		g_assert_cmpint(fetch_error_errno(e, true), ==, cases[i].as_listing);
		g_assert_cmpint(fetch_error_errno(e, false), ==, cases[i].as_read);
		g_assert_cmpint(fetch_error_transient(e), ==, cases[i].transient);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/error/errno", test_errors);
	g_test_add_func("/listing/names", test_names);
	g_test_add_func("/listing/order-and-lookup", test_order_and_lookup);
	g_test_add_func("/listing/cookies-survive", test_cookies_survive);
	g_test_add_func("/listing/identity-changes", test_identity_changes);
	g_test_add_func("/listing/resolved", test_resolved);
	g_test_add_func("/listing/resolved-meanwhile", test_resolved_meanwhile);
	g_test_add_func("/listing/identify", test_identify);
	g_test_add_func("/listing/million", test_million);
	return g_test_run();
}
