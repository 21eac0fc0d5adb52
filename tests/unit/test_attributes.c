/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "tests/unit/engine.h"
#include "tests/unit/list_waiter.h"
#include <errno.h>

static int attributes(struct directory *d, const char *name, struct listing_entry *out)
{
	struct listing *l = directory_listing(d, NULL);
	struct list_waiter w;
	uint32_t index;
	int result;

	list_init(&w);
	g_assert_true(listing_find(l, name, &index));
	result = lister_want_attributes(d, l, index, &w.wait);
	if (result == -EINPROGRESS)
		result = -list_wait(&w);
	directory_entry(d, l, index, out);
	listing_unref(l);
	return -result;
}

static void test_attributes(void)
{
	struct engine *e = engine_new(NULL);
	struct directory *d = directory_new(e->lister, "d", 7, NULL);
	struct listing_entry entry;
	unsigned before;

	fake_directory_set(e->fake, "d", 500, false);
	g_assert_cmpint(list(d, NULL), ==, 500);
	g_assert_cmpint(attributes(d, "f0499", &entry), ==, 0);
	g_assert_cmpuint(entry.size, ==, 500000);
	g_assert_cmpint(entry.mtime_ns, ==, 7000000000);
	g_assert_true((entry.flags & LISTING_SIZE_EXACT) && (entry.flags & LISTING_MTIME_KNOWN));
	g_assert_cmpuint(fake_stats(e->fake), ==, 1);
	/* the second call needs no request */
	g_assert_cmpint(attributes(d, "f0499", &entry), ==, 0);
	g_assert_cmpuint(fake_stats(e->fake), ==, 1);
	/* in order of the listing: siblings are requested in parallel */
	g_assert_cmpint(attributes(d, "f0000", &entry), ==, 0);
	g_assert_cmpuint(fake_stats(e->fake), ==, 2);
	for (unsigned n = 1; n < 500; n++) {
		char name[16];

		g_snprintf(name, sizeof name, "f%04u", n);
		g_assert_cmpint(attributes(d, name, &entry), ==, 0);
		g_assert_cmpuint(entry.size, ==, (n + 1) * 1000);
	}
	fake_wait_idle(e->fake);
	g_assert_cmpuint(fake_stats(e->fake), ==, 500);
	/* stored, and kept across a refresh that lists the same */
	fake_directory_set(e->fake, "d", 500, false);
	directory_expire(d);
	g_assert_cmpint(list(d, NULL), ==, 500);
	g_assert_cmpint(attributes(d, "f0123", &entry), ==, 0);
	directory_unref(d);
	engine_stop(e);
	engine_start(e, false);
	d = directory_new(e->lister, "d", 7, NULL);
	fake_directory_set(e->fake, "d", 500, false);
	g_assert_cmpint(list(d, NULL), ==, 500);
	before = fake_stats(e->fake);
	g_assert_cmpint(attributes(d, "f0123", &entry), ==, 0);
	g_assert_cmpuint(entry.size, ==, 124000);
	g_assert_cmpuint(fake_stats(e->fake), ==, before);
	directory_unref(d);
	engine_free(e);
}

/* The first caller sends the request, the others wait. A failure reaches all of them, and the next
 * call tries again. */
static void test_attributes_fail(void)
{
	struct engine *e = engine_new(NULL);
	struct directory *d = directory_new(e->lister, "d", 7, NULL);
	struct list_waiter waits[20];
	struct listing_entry entry;
	struct listing *l;

	fake_directory_set(e->fake, "d", 5, false);
	g_assert_cmpint(list(d, NULL), ==, 5);
	l = directory_listing(d, NULL);
	fake_gate(e->fake, true);
	fake_fail(e->fake, FETCH_DENIED, 1);
	for (unsigned n = 0; n < 20; n++) {
		list_init(&waits[n]);
		g_assert_cmpint(lister_want_attributes(d, l, 2, &waits[n].wait), ==, -EINPROGRESS);
	}
	g_assert_true(lister_cancel(e->lister, &waits[7].wait));
	fake_gate(e->fake, false);
	for (unsigned n = 0; n < 20; n++)
		if (n != 7)
			g_assert_cmpint(list_wait(&waits[n]), ==, EACCES);
	g_assert_cmpuint(fake_stats(e->fake), ==, 1);
	directory_entry(d, l, 2, &entry);
	g_assert_false(entry.flags & LISTING_SIZE_EXACT);
	g_assert_cmpint(attributes(d, "f0002", &entry), ==, 0);
	g_assert_cmpuint(entry.size, ==, 3000);
	listing_unref(l);
	directory_unref(d);
	engine_free(e);
}

/* A listing is replaced while attributes are requested: the new one gets them if it lists the entry
 * unchanged, and a holder of the old listing sees them, too. */
static void test_attributes_relisted(void)
{
	struct engine *e = engine_new(NULL);
	struct directory *d = directory_new(e->lister, "d", 7, NULL);
	struct listing_entry entry;
	struct list_waiter w, gone;
	struct listing *old;

	fake_directory_set(e->fake, "d", 5, false);
	g_assert_cmpint(list(d, NULL), ==, 5);
	old = directory_listing(d, NULL);
	fake_directory_set(e->fake, "d", 4, false);
	directory_expire(d);
	fake_stall(e->fake, false, 0);
	g_assert_cmpint(list(d, NULL), ==, 4);
	list_init(&w);
	list_init(&gone);
	g_assert_cmpint(lister_want_attributes(d, old, 4, &gone.wait), ==, -ENOENT);
	g_assert_cmpint(lister_want_attributes(d, old, 1, &w.wait), ==, -EINPROGRESS);
	g_assert_cmpint(list_wait(&w), ==, 0);
	directory_entry(d, old, 1, &entry);
	g_assert_cmpuint(entry.size, ==, 2000);
	g_assert_cmpstr(listing_name(old, &entry), ==, "f0001");
	directory_resolve(d, old, 2, 77, true, 5);
	g_assert_cmpint(attributes(d, "f0002", &entry), ==, 0);
	g_assert_cmpuint(entry.size, ==, 77);
	listing_unref(old);
	directory_unref(d);
	engine_free(e);
}

static void *list_on_and_on(void *user)
{
	struct directory *d = user;
	struct listing_entry entry;

	for (unsigned n = 0; n < 300; n++) {
		char name[16];

		if (n % 7 == 0)
			directory_expire(d);
		g_assert_cmpint(list(d, NULL), >, 0);
		g_snprintf(name, sizeof name, "f%04u", n % 50);
		g_assert_cmpint(attributes(d, name, &entry), ==, 0);
	}
	return NULL;
}

/* Listings replaced, resolved, saved and read all at once. */
static void test_threads(void)
{
	struct engine *e = engine_new(NULL);
	struct directory *d = directory_new(e->lister, "d", 7, NULL);
	pthread_t threads[4];

	fake_directory_set(e->fake, "d", 50, false);
	for (unsigned n = 0; n < 4; n++)
		pthread_create(&threads[n], NULL, list_on_and_on, d);
	for (unsigned n = 0; n < 20; n++) {
		g_usleep(2000);
		fake_directory_set(e->fake, "d", 50 + n, false);
	}
	for (unsigned n = 0; n < 4; n++)
		pthread_join(threads[n], NULL);
	directory_unref(d);
	engine_free(e);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	engine_quiet();
	g_test_add_func("/attributes/resolve", test_attributes);
	g_test_add_func("/attributes/fail", test_attributes_fail);
	g_test_add_func("/attributes/relisted", test_attributes_relisted);
	g_test_add_func("/attributes/threads", test_threads);
	return g_test_run();
}
