/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "tests/unit/engine.h"
#include <errno.h>
#include <limits.h>
#include <string.h>

struct list_waiter {
	struct lister_wait wait;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned calls, count;
	int error;
};

static void list_done(struct lister_wait *wait, struct listing *listing, int error)
{
	struct list_waiter *w = (struct list_waiter *)wait;

	pthread_mutex_lock(&w->lock);
	w->calls++;
	w->error = error;
	w->count = listing ? listing_count(listing) : 0;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

static void list_init(struct list_waiter *w)
{
	*w = (struct list_waiter){.wait.done = list_done};
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
}

static int list_wait(struct list_waiter *w)
{
	pthread_mutex_lock(&w->lock);
	while (w->calls == 0)
		pthread_cond_wait(&w->changed, &w->lock);
	g_assert_cmpuint(w->calls, ==, 1);
	pthread_mutex_unlock(&w->lock);
	return w->error;
}

/* The number of entries, or a negative errno; *waited: it was not at hand. */
static int list(struct directory *d, bool *waited)
{
	struct listing *l = NULL;
	struct list_waiter w;
	int result;

	list_init(&w);
	result = lister_want(d, &w.wait, &l);
	if (waited)
		*waited = result == -EINPROGRESS;
	if (result == -EINPROGRESS)
		return list_wait(&w) ? -w.error : (int)w.count;
	if (result < 0)
		return result;
	result = listing_count(l);
	listing_unref(l);
	return result;
}

static void test_list(void)
{
	struct engine *e = engine_new(NULL);
	struct directory *d = directory_new(e->lister, "d", 7, NULL);
	struct lister_counters n;
	bool fresh = true, waited;

	fake_directory_set(e->fake, "d", 5, true);
	g_assert_null(directory_listing(d, &fresh));
	g_assert_cmpint(list(d, &waited), ==, 5);
	g_assert_true(waited);
	g_assert_cmpint(list(d, &waited), ==, 5);
	g_assert_false(waited);
	listing_unref(directory_listing(d, &fresh));
	g_assert_true(fresh);
	g_assert_cmpuint(e->relisted, ==, 1);
	/* expired, and nothing new */
	directory_expire(d);
	listing_unref(directory_listing(d, &fresh));
	g_assert_false(fresh);
	g_assert_cmpint(list(d, NULL), ==, 5);
	g_assert_cmpuint(fake_lists(e->fake), ==, 2);
	g_assert_cmpuint(e->relisted, ==, 1);
	/* and something new */
	fake_directory_set(e->fake, "d", 8, true);
	directory_expire(d);
	g_assert_cmpint(list(d, NULL), ==, 8);
	g_assert_cmpuint(e->relisted, ==, 2);
	lister_counters(e->lister, &n);
	g_assert_cmpuint(n.listings, ==, 3);
	g_assert_cmpuint(n.listings_unchanged, ==, 1);
	directory_unref(d);
	engine_free(e);
}

/* The store's copy is enough while it is fresh, and when the source is away. */
static void test_kept(void)
{
	struct engine *e = engine_new(NULL);
	struct directory *d = directory_new(e->lister, "d", 7, NULL);

	fake_directory_set(e->fake, "d", 5, true);
	g_assert_cmpint(list(d, NULL), ==, 5);
	directory_unref(d);
	engine_stop(e);
	engine_start(e, false);
	d = directory_new(e->lister, "d", 7, NULL);
	g_assert_cmpint(list(d, NULL), ==, 5);
	g_assert_cmpuint(fake_lists(e->fake), ==, 0);
	fake_fail(e->fake, FETCH_UNREACHABLE, 0);
	directory_expire(d);
	g_assert_cmpint(list(d, NULL), ==, 5);
	g_assert_cmpuint(fake_lists(e->fake), ==, 1);
	directory_unref(d);
	engine_free(e);
}

static void test_time_to_live(void)
{
	struct engine_options options = {.ttl_ms = 50};
	struct engine *e = engine_new(&options);
	struct directory *d = directory_new(e->lister, "", 7, NULL);

	fake_directory_set(e->fake, "", 5, true);
	g_assert_cmpint(list(d, NULL), ==, 5);
	g_usleep(60000);
	fake_directory_set(e->fake, "", 6, true);
	g_assert_cmpint(list(d, NULL), ==, 6);
	/* what could not be renewed is good for as long again */
	g_usleep(60000);
	fake_fail(e->fake, FETCH_SERVER, 0);
	g_assert_cmpint(list(d, NULL), ==, 6);
	g_assert_cmpint(list(d, NULL), ==, 6);
	g_assert_cmpuint(fake_lists(e->fake), ==, 3);
	g_usleep(60000);
	fake_directory_remove(e->fake, "");
	fake_fail(e->fake, -1, 0);
	g_assert_cmpint(list(d, NULL), ==, 6); /* gone at the source, not here */
	directory_unref(d);
	engine_free(e);
}

/* Unreachable: asked once, then what is in hand is given out at once; found again without
 * anybody waiting. What was never listed is asked for, and fails. */
static void test_unreachable(void)
{
	struct engine *e = engine_new(NULL);
	struct directory *one = directory_new(e->lister, "one", 1, NULL);
	struct directory *two = directory_new(e->lister, "two", 2, NULL);
	struct directory *new = directory_new(e->lister, "new", 3, NULL);
	struct lister_counters n;
	g_autofree char *cause = NULL;
	bool waited;

	fake_directory_set(e->fake, "one", 1, true);
	fake_directory_set(e->fake, "two", 2, true);
	g_assert_cmpint(list(one, NULL), ==, 1);
	g_assert_cmpint(list(two, NULL), ==, 2);
	fake_fail(e->fake, FETCH_UNREACHABLE, 0);
	directory_expire(one);
	directory_expire(two);
	g_assert_cmpint(list(one, &waited), ==, 1);
	g_assert_true(waited);
	cause = directory_cause(one);
	g_assert_cmpstr(cause, ==, "as ordered");
	g_assert_cmpint(list(two, &waited), ==, 2);
	g_assert_false(waited);
	g_assert_cmpuint(fake_lists(e->fake), ==, 3);
	g_assert_cmpint(list(new, NULL), ==, -EIO);
	g_assert_cmpuint(fake_lists(e->fake), ==, 4);
	lister_counters(e->lister, &n);
	g_assert_true(n.source_down);
	fake_directory_set(e->fake, "new", 9, true);
	fake_fail(e->fake, -1, 0);
	g_assert_cmpint(list(new, NULL), ==, 9);
	lister_counters(e->lister, &n);
	g_assert_false(n.source_down);
	directory_unref(one);
	directory_unref(two);
	directory_unref(new);
	engine_free(e);
}

static void test_errors(void)
{
	struct engine *e = engine_new(NULL);
	struct directory *d = directory_new(e->lister, "d", 7, NULL);

	g_assert_cmpint(list(d, NULL), ==, -ENOENT);
	fake_fail(e->fake, FETCH_DENIED, 1);
	g_assert_cmpint(list(d, NULL), ==, -EACCES);
	fake_fail(e->fake, FETCH_PROTOCOL, 1);
	g_assert_cmpint(list(d, NULL), ==, -EIO);
	fake_directory_set(e->fake, "d", 1, true);
	g_assert_cmpint(list(d, NULL), ==, 1); /* tried again */
	directory_unref(d);
	engine_free(e);
}

static void see_wait(const struct lister_wait_info *info, void *user)
{
	g_assert_cmpstr(info->path, ==, "d");
	++*(unsigned *)user;
}

static void test_single_flight(void)
{
	struct engine *e = engine_new(NULL);
	struct directory *d = directory_new(e->lister, "d", 7, NULL);
	struct list_waiter waits[50];
	struct listing *l;
	unsigned seen = 0;

	fake_directory_set(e->fake, "d", 3, true);
	fake_gate(e->fake, true);
	for (unsigned n = 0; n < G_N_ELEMENTS(waits); n++) {
		list_init(&waits[n]);
		g_assert_cmpint(lister_want(d, &waits[n].wait, &l), ==, -EINPROGRESS);
	}
	lister_foreach_wait(e->lister, see_wait, &seen);
	g_assert_cmpuint(seen, ==, G_N_ELEMENTS(waits));
	g_assert_true(lister_cancel(e->lister, &waits[0].wait));
	g_assert_false(lister_cancel(e->lister, &waits[0].wait));
	fake_gate(e->fake, false);
	for (unsigned n = 1; n < G_N_ELEMENTS(waits); n++) {
		g_assert_cmpint(list_wait(&waits[n]), ==, 0);
		g_assert_cmpuint(waits[n].count, ==, 3);
	}
	g_assert_cmpuint(waits[0].calls, ==, 0);
	g_assert_cmpuint(fake_lists(e->fake), ==, 1);
	directory_unref(d);
	engine_free(e);
}

/* A deadline is an error only where nothing is in hand. */
static void test_deadline(void)
{
	struct engine_options options = {.wait_ms = 100};
	struct engine *e = engine_new(&options);
	struct directory *d = directory_new(e->lister, "d", 7, NULL);
	g_autofree char *cause = NULL;

	fake_directory_set(e->fake, "d", 3, true);
	fake_gate(e->fake, true);
	g_assert_cmpint(list(d, NULL), ==, -EIO);
	cause = directory_cause(d);
	g_assert_nonnull(strstr(cause, "no answer within 0.1 s"));
	fake_gate(e->fake, false);
	fake_wait_idle(e->fake);
	g_assert_cmpint(list(d, NULL), ==, 3);
	fake_gate(e->fake, true);
	directory_expire(d);
	g_assert_cmpint(list(d, NULL), ==, 3);
	fake_gate(e->fake, false);
	fake_wait_idle(e->fake);
	directory_unref(d);
	engine_free(e);
}

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
	/* asked again: nothing to ask */
	g_assert_cmpint(attributes(d, "f0499", &entry), ==, 0);
	g_assert_cmpuint(fake_stats(e->fake), ==, 1);
	/* in order: side by side */
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
	/* kept in the store, and over a refresh that says the same */
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

/* The first asks, the others wait; a failure is told to all of them and tried again. */
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

/* A listing that was replaced while attributes were on their way: they are put into the new
 * one where it says the same of the entry, and an old listing's holder sees them, too. */
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

static void *stop_engine(void *user)
{
	engine_stop(user);
	return NULL;
}

static void test_stop(void)
{
	struct engine *e = engine_new(NULL);
	struct list_waiter waits[20];
	pthread_t thread;

	fake_gate(e->fake, true);
	for (unsigned n = 0; n < 20; n++) {
		g_autofree char *path = g_strdup_printf("d%u", n);
		struct directory *d = directory_new(e->lister, path, n + 1, NULL);
		struct listing *l;

		list_init(&waits[n]);
		g_assert_cmpint(lister_want(d, &waits[n].wait, &l), ==, -EINPROGRESS);
		directory_unref(d);
	}
	pthread_create(&thread, NULL, stop_engine, e);
	for (unsigned n = 0; n < 20; n++)
		g_assert_cmpint(list_wait(&waits[n]), ==, EIO);
	pthread_join(thread, NULL);
	engine_start(e, false);
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
	g_test_add_func("/lister/list", test_list);
	g_test_add_func("/lister/kept", test_kept);
	g_test_add_func("/lister/time_to_live", test_time_to_live);
	g_test_add_func("/lister/unreachable", test_unreachable);
	g_test_add_func("/lister/errors", test_errors);
	g_test_add_func("/lister/single_flight", test_single_flight);
	g_test_add_func("/lister/deadline", test_deadline);
	g_test_add_func("/lister/attributes", test_attributes);
	g_test_add_func("/lister/attributes_fail", test_attributes_fail);
	g_test_add_func("/lister/attributes_relisted", test_attributes_relisted);
	g_test_add_func("/lister/stop", test_stop);
	g_test_add_func("/lister/threads", test_threads);
	return g_test_run();
}
