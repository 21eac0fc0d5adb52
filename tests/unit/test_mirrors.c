/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Mirrors that fail as told, below the source that chooses between them. */
#include "fetch/base/lock.h"
#include "fetch/base/pool.h"
#include "fetch/source/wrap/mirrors.h"
#include <errno.h>
#include <string.h>

#define SIZE 1000u
#define MS INT64_C(1000000)
#define GOOD (-1)

/* A mirror: answers each request as its members say. */
struct fake {
	struct source base;
	struct alarm_clock *clock;
	int code;       /* enum fetch_error; GOOD */
	uint64_t bytes; /* of a read that fails, delivered before */
	source_version version;
	unsigned wait_ms; /* as Retry-After */
	unsigned asked;   /* atomic */
	bool as_listed;   /* of the last request; atomic */
};

struct call {
	struct alarm alarm; /* first */
	struct fake *fake;
	struct source_request *request;
	void (*answer)(struct fake *f, struct source_request *r, GError **error);
};

struct world {
	struct fake fakes[3];
	struct mirrors *mirrors;
	struct source *source;
};

/* A request and its end. */
struct answer {
	union {
		struct source_request base;
		struct source_list list;
		struct source_stat stat;
		struct source_read read;
	} r; /* first */
	struct mutex lock;
	struct condition over;
	bool done;
	GError *error;
	char got[SIZE];
	uint64_t next;
	unsigned begins;
};

static char byte_at(source_version version, uint64_t offset)
{
	return (char)(offset * 7 + offset / 256 + version);
}

static void read_answer(struct fake *f, struct source_request *request, GError **error)
{
	struct source_read *r = (struct source_read *)request;
	uint64_t want = f->code == GOOD ? UINT64_MAX : f->bytes;
	char buffer[SIZE];
	if (want == 0)
		return;
	if (r->pinned != 0 && r->pinned != f->version) {
		g_set_error(error, FETCH_ERROR, FETCH_CHANGED, "another version");
		return;
	}
	r->length = MIN(r->length, r->size - r->offset);
	r->version = f->version;
	int result = r->begin(r);
	uint64_t length = MIN(r->length, want);
	for (uint64_t i = 0; i < length; i++)
		buffer[i] = byte_at(f->version, r->offset + i);
	if (result == 0)
		r->data(r, r->offset, buffer, length);
}

static void stat_answer(struct fake *f, struct source_request *request, GError **error)
{
	struct source_stat *r = (struct source_stat *)request;
	r->size = SIZE;
	r->version = f->version;
}

static void list_answer(struct fake *f, struct source_request *request, GError **error)
{
	struct source_list *r = (struct source_list *)request;
	char validator[32];
	g_snprintf(validator, sizeof(validator), "O%016" G_GINT64_MODIFIER "x",
	           (guint64)f->base.shape);
	if (f->code == GOOD)
		r->listing = listing_builder_finish(listing_builder_new(), validator, 0, NULL);
}

static void fake_ring(struct alarm *alarm)
{
	struct call *c = (struct call *)alarm;
	struct fake *f = c->fake;
	struct source_request *request = c->request;
	g_autoptr(GError) error = NULL;
	c->answer(f, request, &error);
	if (error == NULL && f->code != GOOD)
		error = g_error_new(FETCH_ERROR, f->code, "as told");
	if (f->wait_ms > 0)
		request->retry_ns = clock_now() + f->wait_ms * MS;
	g_free(c);
	request->done(request, error);
}

static void fake_submit(struct source *s, struct source_request *request,
                        void (*answer)(struct fake *, struct source_request *, GError **))
{
	struct fake *f = (struct fake *)s;
	struct call *c = g_new0(struct call, 1);
	*c = (struct call){{.ring = fake_ring}, f, request, answer};
	__atomic_add_fetch(&f->asked, 1, __ATOMIC_RELAXED);
	alarm_set(f->clock, &c->alarm, clock_now());
}

static void fake_list(struct source *s, struct source_list *req)
{
	fake_submit(s, &req->base, list_answer);
}

static void fake_stat(struct source *s, struct source_stat *req)
{
	__atomic_store_n(&((struct fake *)s)->as_listed, req->as_listed, __ATOMIC_RELAXED);
	fake_submit(s, &req->base, stat_answer);
}

static void fake_read(struct source *s, struct source_read *req)
{
	__atomic_store_n(&((struct fake *)s)->as_listed, req->as_listed, __ATOMIC_RELAXED);
	fake_submit(s, &req->base, read_answer);
}

/* Waits for the callbacks. */
static void fake_close(struct source *s)
{
	alarm_clock_free(((struct fake *)s)->clock);
}

static char *fake_describe(struct source *s, const char *path)
{
	return g_strdup_printf("fake:%s", path);
}

static const struct source_ops fake_ops = {
        .name = "fake",
        .list = fake_list,
        .stat = fake_stat,
        .read = fake_read,
        .close = fake_close,
        .describe = fake_describe,
};

static void world_begin(struct world *w, unsigned count, unsigned retry_ms, unsigned takeover_ms)
{
	const struct mirrors_options options = {retry_ms, takeover_ms};
	struct source *inner[3];
	*w = (struct world){0};
	for (unsigned i = 0; i < count; i++) {
		w->fakes[i] = (struct fake){.base = {.ops = &fake_ops, .shape = 11 + i},
		                            .clock = alarm_clock_new(),
		                            .code = GOOD,
		                            .version = 5};
		inner[i] = &w->fakes[i].base;
	}
	w->mirrors = mirrors_new(inner, count, &options);
	w->source = mirrors_source(w->mirrors);
}

static void world_end(struct world *w)
{
	source_close(w->source);
}

/* How often mirror `i` was asked since the last time. */
static unsigned asked(struct world *w, unsigned i)
{
	return __atomic_exchange_n(&w->fakes[i].asked, 0, __ATOMIC_RELAXED);
}

static int answer_begin(struct source_read *r)
{
	struct answer *a = (struct answer *)r;
	a->begins++;
	a->next = r->offset;
	return 0;
}

static int answer_data(struct source_read *r, uint64_t offset, const void *buffer, size_t length)
{
	struct answer *a = (struct answer *)r;
	g_assert_cmpuint(offset, ==, a->next);
	memcpy(a->got + offset, buffer, length);
	a->next += length;
	return 0;
}

static void answer_done(struct source_request *request, const GError *error)
{
	struct answer *a = (struct answer *)request;
	mutex_lock(&a->lock);
	a->error = error != NULL ? g_error_copy(error) : NULL;
	a->done = true;
	condition_signal(&a->over);
	mutex_unlock(&a->lock);
}

static void answer_init(struct answer *a, const char *path)
{
	*a = (struct answer){.r.base = {.path = (char *)path, .done = answer_done}};
	mutex_init(&a->lock, RANK_LISTER);
	condition_init(&a->over);
}

static void answer_wait(struct answer *a)
{
	mutex_lock(&a->lock);
	while (!a->done)
		condition_wait(&a->over, &a->lock);
	mutex_unlock(&a->lock);
	mutex_destroy(&a->lock);
	condition_destroy(&a->over);
}

/* The code of the failure; GOOD. Frees the error. */
static int answer_code(struct answer *a)
{
	int code = GOOD;
	if (a->error != NULL) {
		g_assert_true(a->error->domain == FETCH_ERROR);
		code = a->error->code;
	}
	g_clear_error(&a->error);
	return code;
}

static int read_file(struct world *w, struct answer *a, const char *path, source_version pinned)
{
	answer_init(a, path);
	a->r.read.length = a->r.read.size = SIZE;
	a->r.read.pinned = pinned;
	a->r.read.begin = answer_begin;
	a->r.read.data = answer_data;
	source_read(w->source, &a->r.read);
	answer_wait(a);
	int code = answer_code(a);
	for (uint64_t i = 0; i < a->next; i++)
		g_assert_cmpint(a->got[i], ==, byte_at(a->r.read.version, i));
	g_assert_true(code != GOOD || (a->begins == 1 && a->next == SIZE));
	return code;
}

static int list_directory(struct world *w, struct answer *a, struct listing *previous)
{
	answer_init(a, "d");
	a->r.list.previous = previous;
	source_list(w->source, &a->r.list);
	answer_wait(a);
	return answer_code(a);
}

static bool made_by(struct world *w, struct listing *l, unsigned mirror)
{
	return source_shape_is(&w->fakes[mirror].base, listing_validator(l));
}

struct state {
	unsigned index;
	bool failed[3], cause[3];
	uint64_t errors[3];
};

static void state_of(const struct mirror_info *m, void *user)
{
	struct state *s = user;
	s->failed[s->index] = m->failed;
	s->cause[s->index] = m->cause != NULL;
	s->errors[s->index++] = m->errors;
}

static bool has_failed(struct world *w, unsigned i)
{
	struct state s = {0};
	mirrors_foreach(w->mirrors, state_of, &s);
	return s.failed[i];
}

static void failed_is_told(void)
{
	g_test_expect_message("lacunafs", G_LOG_LEVEL_WARNING,
	                      "mirror 1 * failed, mirror 2 * is used: *");
}

static void detour_is_told(void)
{
	g_test_expect_message("lacunafs", G_LOG_LEVEL_MESSAGE,
	                      "mirror 1 * did not serve a request*");
}

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
			g_assert_true(w.fakes[1].as_listed && !w.fakes[0].as_listed);
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

static void log_nothing(const char *domain, GLogLevelFlags level, const char *text, void *user)
{
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
	g_test_add_func("/mirrors/listing", test_listing);
	g_test_add_func("/mirrors/not-gone", test_not_gone);
	g_test_add_func("/mirrors/takeover", test_takeover);
	g_test_add_func("/mirrors/unknown-maker", test_unknown_maker);
	g_test_add_func("/mirrors/close", test_close);
	return g_test_run();
}
