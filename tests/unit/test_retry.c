/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A source that fails on request, under the retrying one. */
#include "fetch/base/pool.h"
#include "fetch/source/wrap/retry.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>

#define SIZE 1000u
#define MS INT64_C(1000000)

struct step {
	enum fetch_error code; /* how the attempt ends */
	bool good;             /* … or that it does not fail */
	bool whole;            /* Range is ignored */
	uint64_t bytes;        /* delivered before it ends */
	source_version version;
	unsigned wait_ms; /* requested by the source */
};

struct fake {
	struct source base;
	struct alarm_clock *clock;
	const struct step *steps;
	unsigned taken;
	bool closed;
};

struct call {
	struct alarm alarm; /* first */
	struct fake *fake;
	struct source_request *request;
	bool read;
	const struct step *step;
};

static char byte_at(uint64_t offset)
{
	return (char)(offset * 7 + offset / 256);
}

/* 0, or the error that ended it */
static int fake_deliver(struct source_read *r, const struct step *step)
{
	char buffer[64];
	uint64_t sent = 0, want = step->good ? UINT64_MAX : step->bytes;
	if (step->whole) {
		r->offset = 0;
		r->length = r->size;
	} else {
		r->length = MIN(r->length, r->size - r->offset);
	}
	r->version = step->version;
	int result = r->begin(r);
	while (result == 0 && sent < MIN(r->length, want)) {
		size_t length = (size_t)MIN(sizeof(buffer), MIN(r->length, want) - sent);
		for (size_t i = 0; i < length; i++)
			buffer[i] = byte_at(r->offset + sent + i);
		result = r->data(r, r->offset + sent, buffer, length);
		sent += length;
	}
	return result;
}

static void fake_ring(struct alarm *alarm)
{
	struct call *c = (struct call *)alarm;
	const struct step *step = c->step;
	g_autoptr(GError) error = NULL;
	int result = 0;
	if (c->read && (step->bytes > 0 || step->good)) {
		struct source_read *r = (struct source_read *)c->request;
		if (r->pinned != 0 && r->pinned != step->version)
			error = g_error_new(FETCH_ERROR, FETCH_CHANGED, "another version");
		else
			result = fake_deliver(r, step);
	}
	if (result != 0)
		error = g_error_new(LOCAL_ERROR, -result, "refused");
	else if (error == NULL && !step->good)
		error = g_error_new(FETCH_ERROR, (gint)step->code, "as told");
	if (step->wait_ms > 0)
		c->request->retry_ns = clock_now() + step->wait_ms * MS;
	struct source_request *request = c->request;
	g_free(c);
	request->done(request, error);
}

static void fake_submit(struct source *s, struct source_request *request, bool read)
{
	struct fake *f = (struct fake *)s;
	struct call *c = g_new0(struct call, 1);
	c->fake = f;
	c->request = request;
	c->read = read;
	c->step = &f->steps[f->taken++];
	c->alarm.ring = fake_ring;
	alarm_set(f->clock, &c->alarm, clock_now());
}

static void fake_read(struct source *s, struct source_read *req)
{
	fake_submit(s, &req->base, true);
}

static void fake_stat(struct source *s, struct source_stat *req)
{
	req->size = 77;
	fake_submit(s, &req->base, false);
}

static void fake_close(struct source *s)
{
	((struct fake *)s)->closed = true;
}

static char *fake_describe(struct source *s, const char *path)
{
	return g_strdup_printf("fake:%s", path);
}

static const struct source_ops fake_ops = {
        .name = "fake",
        .stat = fake_stat,
        .read = fake_read,
        .close = fake_close,
        .describe = fake_describe,
};

struct reader {
	struct source_read r; /* first */
	pthread_mutex_t lock;
	pthread_cond_t over;
	char got[SIZE];
	uint64_t next;
	unsigned begins, attempts;
	bool done;
	int refuse; /* the result of data() */
	GError *error;
};

static int reader_begin(struct source_read *r)
{
	struct reader *x = (struct reader *)r;
	x->begins++;
	x->next = r->offset;
	return 0;
}

static int reader_data(struct source_read *r, uint64_t offset, const void *buffer, size_t length)
{
	struct reader *x = (struct reader *)r;
	g_assert_cmpuint(offset, ==, x->next);
	g_assert_cmpuint(offset + length, <=, r->offset + r->length);
	memcpy(x->got + offset, buffer, length);
	x->next += length;
	return x->refuse;
}

static void reader_done(struct source_request *request, const GError *error)
{
	struct reader *x = (struct reader *)request;
	pthread_mutex_lock(&x->lock);
	x->error = error != NULL ? g_error_copy(error) : NULL;
	x->attempts = request->attempt;
	x->done = true;
	pthread_cond_signal(&x->over);
	pthread_mutex_unlock(&x->lock);
}

static void reader_start(struct reader *x, struct source *s, uint64_t offset, uint64_t length)
{
	*x = (struct reader){.r = {.base = {.path = (char *)"a/b", .done = reader_done},
	                           .offset = offset,
	                           .length = length,
	                           .size = SIZE,
	                           .begin = reader_begin,
	                           .data = reader_data},
	                     .refuse = x->refuse};
	pthread_mutex_init(&x->lock, NULL);
	pthread_cond_init(&x->over, NULL);
	source_read(s, &x->r);
}

static void reader_wait(struct reader *x)
{
	pthread_mutex_lock(&x->lock);
	while (!x->done)
		pthread_cond_wait(&x->over, &x->lock);
	pthread_mutex_unlock(&x->lock);
}

/* Reads [offset, +length) through `steps`; every byte that came is the right one. */
static void run(struct reader *x, const struct step *steps, unsigned retries, uint64_t offset,
                uint64_t length, unsigned taken)
{
	struct fake f = {.base = {&fake_ops}, .clock = alarm_clock_new(), .steps = steps};
	struct source *s = retry_new(&f.base, retries, 0);
	reader_start(x, s, offset, length);
	reader_wait(x);
	source_close(s);
	alarm_clock_free(f.clock);
	g_assert_true(f.closed);
	g_assert_cmpuint(f.taken, ==, taken);
	g_assert_cmpuint(x->attempts, ==, taken - 1);
	g_assert_cmpuint(x->begins, <=, 1);
	for (uint64_t i = x->begins > 0 ? x->r.offset : 0; i < x->next; i++)
		g_assert_cmpint(x->got[i], ==, byte_at(i));
	if (x->error == NULL)
		g_assert_cmpuint(x->next, ==, x->r.offset + x->r.length);
}

static void test_resume(void)
{
	const struct step steps[] = {{FETCH_UNREACHABLE},
	                             {FETCH_SERVER, .bytes = 100, .version = 5},
	                             {FETCH_TIMEOUT, .bytes = 1, .version = 5},
	                             {.good = true, .version = 5}};
	struct reader x = {0};
	run(&x, steps, 3, 300, 600, 4);
	g_assert_no_error(x.error);
	g_assert_cmpuint(x.r.version, ==, 5);
	g_assert_cmpuint(x.next, ==, 900);
}

static void test_used_up(void)
{
	const struct step steps[] = {{FETCH_UNREACHABLE},
	                             {FETCH_SERVER, .bytes = 10, .version = 5}};
	struct reader x = {0};
	run(&x, steps, 1, 0, SIZE, 2);
	g_assert_error(x.error, FETCH_ERROR, FETCH_SERVER);
	g_assert_cmpuint(x.next, ==, 10);
	g_error_free(x.error);
}

static void test_final(void)
{
	static const enum fetch_error codes[] = {FETCH_DENIED,   FETCH_MISSING,   FETCH_CHANGED,
	                                         FETCH_PROTOCOL, FETCH_CANCELLED, FETCH_USAGE};
	for (size_t i = 0; i < G_N_ELEMENTS(codes); i++) {
		const struct step steps[] = {{codes[i]}};
		struct reader x = {0};
		run(&x, steps, 3, 0, 10, 1);
		g_assert_error(x.error, FETCH_ERROR, (gint)codes[i]);
		g_error_free(x.error);
	}
}

/* The version changes between two attempts: an error, not a mixture. */
static void test_pinned(void)
{
	const struct step steps[] = {{FETCH_SERVER, .bytes = 64, .version = 5},
	                             {.good = true, .version = 6}};
	struct reader x = {0};
	run(&x, steps, 3, 0, SIZE, 2);
	g_assert_error(x.error, FETCH_ERROR, FETCH_CHANGED);
	g_assert_cmpuint(x.next, ==, 64);
	g_error_free(x.error);
}

/* Another server behind the same name ignores Range: no byte is delivered twice, and none beyond
 * the range. */
static void test_grown(void)
{
	const struct step steps[] = {{FETCH_SERVER, .bytes = 64, .version = 5},
	                             {.good = true, .whole = true, .version = 5}};
	struct reader x = {0};
	run(&x, steps, 3, 200, 300, 2);
	g_assert_no_error(x.error);
	g_assert_cmpuint(x.begins, ==, 1);
	g_assert_cmpuint(x.r.offset, ==, 200);
	g_assert_cmpuint(x.next, ==, 500);
}

static void test_whole_first(void)
{
	const struct step steps[] = {{FETCH_SERVER, .whole = true, .bytes = 700, .version = 5},
	                             {.good = true, .version = 5}};
	struct reader x = {0};
	run(&x, steps, 3, 200, 300, 2);
	g_assert_no_error(x.error);
	g_assert_cmpuint(x.r.offset, ==, 0);
	g_assert_cmpuint(x.next, ==, SIZE);
}

static void test_refused_here(void)
{
	const struct step steps[] = {{.good = true, .version = 5}};
	struct reader x = {.refuse = -ENOSPC};
	run(&x, steps, 3, 0, SIZE, 1);
	g_assert_error(x.error, LOCAL_ERROR, ENOSPC);
	g_error_free(x.error);
}

static void test_failed_after_all(void)
{
	const struct step steps[] = {{FETCH_UNREACHABLE, .bytes = SIZE, .version = 5}};
	struct reader x = {0};
	run(&x, steps, 3, 0, SIZE, 1);
	g_assert_no_error(x.error);
	g_assert_cmpuint(x.next, ==, SIZE);
}

static void test_asked_to_wait(void)
{
	const struct step steps[] = {{FETCH_SERVER, .wait_ms = 700}, {.good = true, .version = 5}};
	struct reader x = {0};
	int64_t from = clock_now();
	run(&x, steps, 3, 0, SIZE, 2);
	g_assert_no_error(x.error);
	g_assert_cmpint(clock_now() - from, >=, 700 * MS);
}

static void test_close_in_backoff(void)
{
	const struct step steps[] = {{FETCH_SERVER, .wait_ms = 60000}};
	struct fake f = {.base = {&fake_ops}, .clock = alarm_clock_new(), .steps = steps};
	struct source *s = retry_new(&f.base, 3, 0);
	struct reader x = {0};
	int64_t from = clock_now();
	reader_start(&x, s, 0, 10);
	while (__atomic_load_n(&x.r.base.retry_ns, __ATOMIC_RELAXED) == 0)
		g_usleep(1000);
	source_close(s);
	reader_wait(&x);
	alarm_clock_free(f.clock);
	g_assert_cmpint(clock_now() - from, <, 30000 * MS);
	g_assert_error(x.error, FETCH_ERROR, FETCH_CANCELLED);
	g_assert_cmpuint(f.taken, ==, 1);
	g_error_free(x.error);
}

struct stat_wait {
	struct source_stat s; /* first */
	int over;             /* atomic; 1 good, -1 bad */
};

static void stat_done(struct source_request *request, const GError *error)
{
	struct stat_wait *w = (struct stat_wait *)request;
	__atomic_store_n(&w->over, error == NULL ? 1 : -1, __ATOMIC_RELEASE);
}

static void test_stat(void)
{
	const struct step steps[] = {{FETCH_TIMEOUT}, {.good = true}};
	struct fake f = {.base = {&fake_ops}, .clock = alarm_clock_new(), .steps = steps};
	struct source *s = retry_new(&f.base, 3, 0);
	struct stat_wait w = {.s = {.base = {.path = (char *)"x", .done = stat_done}}};
	g_autofree char *name = source_describe(s, "x");
	g_assert_cmpstr(name, ==, "fake:x");
	source_stat(s, &w.s);
	while (__atomic_load_n(&w.over, __ATOMIC_ACQUIRE) == 0)
		g_usleep(1000);
	g_assert_cmpint(w.over, ==, 1);
	g_assert_cmpuint(w.s.size, ==, 77);
	source_close(s);
	alarm_clock_free(f.clock);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/retry/resume", test_resume);
	g_test_add_func("/retry/used-up", test_used_up);
	g_test_add_func("/retry/final", test_final);
	g_test_add_func("/retry/pinned", test_pinned);
	g_test_add_func("/retry/grown", test_grown);
	g_test_add_func("/retry/whole-first", test_whole_first);
	g_test_add_func("/retry/refused-here", test_refused_here);
	g_test_add_func("/retry/failed-after-all", test_failed_after_all);
	g_test_add_func("/retry/asked-to-wait", test_asked_to_wait);
	g_test_add_func("/retry/close-in-backoff", test_close_in_backoff);
	g_test_add_func("/retry/stat", test_stat);
	return g_test_run();
}
