/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "tests/unit/engine.h"
#include "tests/unit/list_waiter.h"
#include <errno.h>
#include <string.h>

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

/* The store's copy answers while it is fresh, and while the source is unreachable. */
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
	/* a listing that could not be revalidated is used for another TTL */
	g_usleep(60000);
	fake_fail(e->fake, FETCH_SERVER, 0);
	g_assert_cmpint(list(d, NULL), ==, 6);
	g_assert_cmpint(list(d, NULL), ==, 6);
	g_assert_cmpuint(fake_lists(e->fake), ==, 3);
	g_usleep(60000);
	fake_directory_remove(e->fake, "");
	fake_fail(e->fake, -1, 0);
	g_assert_cmpint(list(d, NULL), ==, 6); /* gone at the source, still in the cache */
	directory_unref(d);
	engine_free(e);
}

static void wait_lists(struct engine *e, unsigned count)
{
	while (fake_lists(e->fake) < count)
		g_usleep(500);
}

/* Two more callers while `one` waits for a request begun earlier: there are `more` requests then.
 */
static void ask_beside(struct engine *e, struct directory *d, bool expire, unsigned more)
{
	struct list_waiter one, two, three;
	struct listing *l = NULL;
	unsigned before = fake_lists(e->fake);

	list_init(&one);
	list_init(&two);
	list_init(&three);
	fake_gate(e->fake, true);
	g_assert_cmpint(lister_want(d, &one.wait, &l), ==, -EINPROGRESS);
	wait_lists(e, before + 1);
	if (expire)
		directory_expire(d);
	g_assert_cmpint(lister_want(d, &two.wait, &l), ==, -EINPROGRESS);
	g_assert_cmpint(lister_want(d, &three.wait, &l), ==, -EINPROGRESS);
	fake_gate(e->fake, false);
	g_assert_cmpint(list_wait(&one), ==, 0);
	g_assert_cmpint(list_wait(&two), ==, 0);
	g_assert_cmpint(list_wait(&three), ==, 0);
	g_assert_cmpuint(fake_lists(e->fake), ==, before + more);
}

/* A caller is answered by a request begun after its call; concurrent callers share the next one. */
static void test_each_time(void)
{
	struct engine_options options = {.each_time = true};
	struct engine *e = engine_new(&options);
	struct directory *d = directory_new(e->lister, "d", 7, NULL);
	bool fresh = true, waited;

	fake_directory_set(e->fake, "d", 5, true);
	g_assert_cmpint(list(d, NULL), ==, 5);
	listing_unref(directory_listing(d, &fresh));
	g_assert_false(fresh);
	fake_directory_set(e->fake, "d", 6, true);
	g_assert_cmpint(list(d, &waited), ==, 6);
	g_assert_true(waited);
	g_assert_cmpuint(fake_lists(e->fake), ==, 2);
	ask_beside(e, d, false, 2);
	/* a failure does not answer the next caller either, unless the source is unreachable */
	fake_fail(e->fake, FETCH_SERVER, 1);
	g_assert_cmpint(list(d, NULL), ==, 6);
	fake_directory_set(e->fake, "d", 7, true);
	g_assert_cmpint(list(d, NULL), ==, 7);
	fake_fail(e->fake, FETCH_UNREACHABLE, 0);
	g_assert_cmpint(list(d, NULL), ==, 7);
	g_assert_cmpint(list(d, &waited), ==, 7);
	g_assert_false(waited);
	directory_unref(d);
	engine_free(e);
}

/* A request under way when a listing is found to be stale does not renew it. */
static void test_expires_meanwhile(void)
{
	struct engine *e = engine_new(NULL);
	struct directory *d = directory_new(e->lister, "d", 7, NULL);
	bool waited;

	fake_directory_set(e->fake, "d", 5, true);
	ask_beside(e, d, false, 1);
	directory_expire(d);
	ask_beside(e, d, true, 2);
	g_assert_cmpint(list(d, &waited), ==, 5);
	g_assert_false(waited);
	directory_unref(d);
	engine_free(e);
}

/* An unreachable source gets one request; then stale listings are used at once, and the source is
 * found again without a waiting caller. A directory that was never listed is requested, and fails.
 */
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
	fake_fail(e->fake, FETCH_DENIED, 2);
	g_assert_cmpint(list(d, NULL), ==, -EACCES);
	fake_fail(e->fake, FETCH_PROTOCOL, 2);
	g_assert_cmpint(list(d, NULL), ==, -EIO);
	fake_fail(e->fake, FETCH_SERVER, 1);
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

/* An empty listing is accepted when it comes twice, and requested no more often. */
static void test_empty(void)
{
	struct engine *e = engine_new(NULL);
	struct directory *d = directory_new(e->lister, "d", 7, NULL);
	struct directory *empty = directory_new(e->lister, "empty", 8, NULL);

	fake_directory_set(e->fake, "d", 5, true);
	fake_directory_set(e->fake, "empty", 0, true);
	e->fake->empty_lists = 1;
	g_assert_cmpint(list(d, NULL), ==, 5);
	e->fake->empty_lists = 1;
	directory_expire(d);
	g_assert_cmpint(list(d, NULL), ==, 5);
	g_assert_cmpuint(fake_lists(e->fake), ==, 4);
	g_assert_cmpint(list(empty, NULL), ==, 0);
	g_assert_cmpuint(fake_lists(e->fake), ==, 6);
	for (unsigned version = 0; version < 2; version++) { /* it was known to be empty */
		fake_directory_set(e->fake, "empty", 0, true);
		directory_expire(empty);
		g_assert_cmpint(list(empty, NULL), ==, 0);
	}
	g_assert_cmpuint(fake_lists(e->fake), ==, 8);
	e->fake->empty_lists = 2;
	directory_expire(d);
	g_assert_cmpint(list(d, NULL), ==, 0);
	g_assert_cmpuint(fake_lists(e->fake), ==, 10);
	directory_unref(empty);
	directory_unref(d);
	engine_free(e);
}

/* The same for a directory that is missing or refused, which then can be removed; not during a
 * request, or after one that failed. */
static void test_refused(void)
{
	static const enum fetch_error refusals[] = {FETCH_MISSING, FETCH_DENIED, FETCH_PROTOCOL};
	struct engine *e = engine_new(NULL);
	struct list_waiter wait;
	struct listing *l;

	fake_directory_set(e->fake, "d", 5, true);
	for (size_t n = 0; n < G_N_ELEMENTS(refusals); n++) {
		struct directory *d = directory_new(e->lister, "d", 7 + 2 * n, NULL);

		fake_fail(e->fake, (int)refusals[n], 1);
		g_assert_cmpint(list(d, NULL), ==, 5);
		directory_unref(d);
		d = directory_new(e->lister, "d", 8 + 2 * n, NULL);
		fake_fail(e->fake, (int)refusals[n], 2);
		g_assert_cmpint(list(d, NULL), <, 0);
		g_assert_cmpint(directory_empty(d), ==, 0);
		fake_gate(e->fake, true);
		list_init(&wait);
		g_assert_cmpint(lister_want(d, &wait.wait, &l), ==, -EINPROGRESS);
		g_assert_cmpint(directory_empty(d), ==, EIO);
		fake_fail(e->fake, FETCH_SERVER, 1);
		fake_gate(e->fake, false);
		g_assert_cmpint(list_wait(&wait), ==, EIO);
		g_assert_cmpint(directory_empty(d), ==, EIO);
		directory_unref(d);
	}
	engine_free(e);
}

/* A deadline is an error only without a stale listing. */
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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	engine_quiet();
	g_test_add_func("/lister/list", test_list);
	g_test_add_func("/lister/kept", test_kept);
	g_test_add_func("/lister/time_to_live", test_time_to_live);
	g_test_add_func("/lister/each_time", test_each_time);
	g_test_add_func("/lister/expires_meanwhile", test_expires_meanwhile);
	g_test_add_func("/lister/unreachable", test_unreachable);
	g_test_add_func("/lister/errors", test_errors);
	g_test_add_func("/lister/single_flight", test_single_flight);
	g_test_add_func("/lister/empty", test_empty);
	g_test_add_func("/lister/refused", test_refused);
	g_test_add_func("/lister/deadline", test_deadline);
	g_test_add_func("/lister/stop", test_stop);
	return g_test_run();
}
