/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/wrap/interceptor.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fake_source.h"

#define GRAIN 4096u
#define MTIME_NS INT64_C(7000000000)
#define SIZE 66000u /* the size that the fake source lists for this name */
#define NAME "f65"

struct box {
	struct fake_source *fake;
	struct source *source;
	bool asks;
	struct question *asked; /* the last */
	unsigned questions, ended;
	int error; /* of the last that ended */
	struct question *late;
	enum verdict late_verdict;
	int late_fd;
};

struct reading {
	struct source_read req; /* first */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	GByteArray *bytes;
	uint64_t from; /* where the delivery begins */
	bool done;
	int error;
};

static bool ask(void *user, struct question *q)
{
	struct box *b = user;
	b->questions += b->asks;
	b->asked = b->asks ? q : NULL;
	return b->asks;
}

static void ended(void *user, struct question *q, int error)
{
	struct box *b = user;
	b->error = error;
	__atomic_add_fetch(&b->ended, 1, __ATOMIC_RELEASE);
}

static void stop(void *user)
{
	struct box *b = user;
	if (b->asked)
		question_answer(b->asked, VERDICT_CANCEL, 0, -1);
	b->asked = NULL;
}

static const struct interceptor_ops ops = {.ask = ask, .ended = ended, .stop = stop};

static void box_open(struct box *b)
{
	*b = (struct box){.fake = fake_source_new(2), .asks = true};
	fake_file_add(b->fake, NAME, SIZE);
	b->source = interceptor_new(&b->fake->base, &ops, b);
}

static int on_begin(struct source_read *req)
{
	struct reading *r = (struct reading *)req;
	r->from = req->offset;
	return 0;
}

static int on_data(struct source_read *req, uint64_t offset, const void *buffer, size_t length)
{
	struct reading *r = (struct reading *)req;
	g_assert_cmpuint(offset, ==, r->from + r->bytes->len);
	g_byte_array_append(r->bytes, buffer, (guint)length);
	return 0;
}

static void on_done(struct source_request *req, const GError *error)
{
	struct reading *r = (struct reading *)req;
	pthread_mutex_lock(&r->lock);
	r->done = true;
	r->error = fetch_error_errno(error, false);
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

static void read_start(struct box *b, struct reading *r, uint64_t offset, uint64_t length)
{
	*r = (struct reading){.bytes = g_byte_array_new()};
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	r->req = (struct source_read){
	        .base = {.path = (char *)NAME, .done = on_done},
	        .offset = offset,
	        .length = length,
	        .size = SIZE,
	        .mtime_ns = MTIME_NS,
	        .grain = GRAIN,
	        .begin = on_begin,
	        .data = on_data,
	};
	source_read(b->source, &r->req);
}

static void read_wait(struct reading *r)
{
	pthread_mutex_lock(&r->lock);
	while (!r->done)
		pthread_cond_wait(&r->changed, &r->lock);
	pthread_mutex_unlock(&r->lock);
}

static void read_clear(struct reading *r)
{
	g_byte_array_unref(r->bytes);
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
}

static int scratch(void)
{
	int fd = memfd_create("scratch", MFD_CLOEXEC);
	g_assert_cmpint(ftruncate(fd, SIZE), ==, 0);
	return fd;
}

static void put(int fd, uint64_t offset, uint64_t length)
{
	g_autofree char *bytes = g_malloc(length);
	memset(bytes, 'h', length);
	g_assert_cmpint(pwrite(fd, bytes, length, (off_t)offset), ==, length);
}

/* `handler`: offsets from..to of the data read are the handler's, the rest is the source's. */
static void check(struct reading *r, uint64_t from, uint64_t to)
{
	g_autofree uint8_t *truth = g_malloc(r->bytes->len);
	fake_bytes(NAME, 0, r->from, truth, r->bytes->len);
	for (guint n = 0; n < r->bytes->len; n++)
		g_assert_cmpuint(r->bytes->data[n], ==,
		                 r->from + n >= from && r->from + n < to ? 'h' : truth[n]);
}

static void test_nobody_asked(void)
{
	struct box b;
	struct reading r;
	box_open(&b);
	b.asks = false;
	read_start(&b, &r, GRAIN, GRAIN);
	read_wait(&r);
	g_assert_false(r.req.handler_pending);
	g_assert_cmpuint(r.bytes->len, ==, GRAIN);
	check(&r, 0, 0);
	read_clear(&r);
	source_close(b.source);
	g_assert_cmpuint(b.ended, ==, 0);
}

/* Supplied data is delivered in whole grains around the range, up to the first gap. */
static void test_allowed(void)
{
	struct box b;
	struct reading r;
	box_open(&b);
	read_start(&b, &r, 4 * GRAIN, GRAIN);
	g_assert_true(r.req.handler_pending);
	g_assert_cmpuint(b.asked->length, ==, GRAIN);
	int fd = scratch();
	put(fd, 2 * GRAIN, 6 * GRAIN);
	put(fd, 9 * GRAIN, GRAIN);
	question_answer(g_steal_pointer(&b.asked), VERDICT_ALLOW, 0, fd);
	read_wait(&r);
	g_assert_cmpint(r.error, ==, 0);
	g_assert_cmpuint(r.from, ==, 2 * GRAIN);
	g_assert_cmpuint(r.bytes->len, ==, 6 * GRAIN);
	check(&r, 0, SIZE);
	g_assert_cmpuint(fake_reads(b.fake), ==, 0);
	read_clear(&r);
	source_close(b.source);
	g_assert_cmpuint(b.ended, ==, 1);
}

/* If the source has no version, or does not answer, the version is made of size and time: never 0.
 */
static void test_version(void)
{
	struct box b;
	struct reading r;
	source_version told[3];
	for (int n = 0; n < 3; n++) {
		box_open(&b);
		if (n == 2)
			fake_fail(b.fake, FETCH_UNREACHABLE, 0);
		read_start(&b, &r, 0, GRAIN);
		int fd = scratch();
		put(fd, 0, GRAIN);
		question_answer(g_steal_pointer(&b.asked), VERDICT_ALLOW, 0, fd);
		read_wait(&r);
		g_assert_cmpint(r.error, ==, 0);
		told[n] = r.req.version;
		/* of several mirrors, one that has this file is asked for its version */
		g_assert_cmpint(b.fake->listed_ns, ==, MTIME_NS);
		read_clear(&r);
		source_close(b.source);
	}
	g_assert_cmpuint(told[0], !=, 0);
	g_assert_cmpuint(told[0], ==, told[1]);
	g_assert_cmpuint(told[0], ==, told[2]);
}

static void test_allowed_and_not_supplied(void)
{
	struct box b;
	struct reading r;
	for (int n = 0; n < 3; n++) {
		box_open(&b);
		read_start(&b, &r, 4 * GRAIN, 2 * GRAIN);
		int fd = n == 0 ? -1 : scratch();
		if (n == 2)
			put(fd, 0, 5 * GRAIN);
		question_answer(g_steal_pointer(&b.asked), VERDICT_ALLOW, 0, fd);
		read_wait(&r);
		g_assert_cmpint(r.error, ==, EIO);
		g_assert_cmpuint(r.bytes->len, ==, 0);
		read_clear(&r);
		source_close(b.source);
		g_assert_cmpint(b.error, ==, EIO);
	}
}

/* The source's bytes, with supplied data over them, as wide as the adjoining supplied data. Bytes
 * between that and other supplied data are not requested. */
static void test_fetched(void)
{
	struct box b;
	struct reading r;
	box_open(&b);
	b.fake->piece = 1000;
	read_start(&b, &r, 4 * GRAIN, 2 * GRAIN);
	int fd = scratch();
	put(fd, 6 * GRAIN, 3 * GRAIN);
	put(fd, 10 * GRAIN, GRAIN);
	question_answer(g_steal_pointer(&b.asked), VERDICT_FETCH, 0, fd);
	read_wait(&r);
	g_assert_false(r.req.handler_pending);
	g_assert_cmpint(r.error, ==, 0);
	g_assert_cmpuint(r.from, ==, 4 * GRAIN);
	g_assert_cmpuint(r.bytes->len, ==, 5 * GRAIN);
	check(&r, 6 * GRAIN, 9 * GRAIN);
	read_clear(&r);
	read_start(&b, &r, 15 * GRAIN, 2 * GRAIN); /* to the end, in part; no data supplied */
	question_answer(g_steal_pointer(&b.asked), VERDICT_FETCH, 0, -1);
	read_wait(&r);
	g_assert_cmpuint(r.bytes->len, ==, SIZE - 15 * GRAIN);
	check(&r, 0, 0);
	read_clear(&r);
	source_close(b.source);
	g_assert_cmpuint(b.ended, ==, 2);
}

static void *answer_late(void *data)
{
	struct box *b = data;
	g_usleep(100000);
	question_answer(b->late, b->late_verdict, 0, b->late_fd);
	return NULL;
}

/* The source is closed with a question taken from the queue and not yet answered: the close waits,
 * and nothing is fetched. */
static void test_answered_while_closing(void)
{
	for (int fetch = 0; fetch < 2; fetch++) {
		struct box b;
		struct reading r;
		pthread_t thread;
		box_open(&b);
		read_start(&b, &r, 4 * GRAIN, GRAIN);
		b.late = g_steal_pointer(&b.asked);
		b.late_fd = scratch();
		b.late_verdict = fetch ? VERDICT_FETCH : VERDICT_ALLOW;
		if (!fetch)
			put(b.late_fd, 4 * GRAIN, GRAIN);
		pthread_create(&thread, NULL, answer_late, &b);
		source_close(b.source);
		pthread_join(thread, NULL);
		g_assert_true(r.done);
		g_assert_cmpint(r.error, !=, 0);
		g_assert_cmpuint(b.ended, ==, 1);
		read_clear(&r);
	}
}

/* A source that ignores the range delivers only data that a handler was asked for, unless there is
 * no handler. */
static void test_delivered_wider(void)
{
	for (int unasked = 0; unasked < 2; unasked++) {
		struct box b;
		struct reading r;
		box_open(&b);
		b.fake->piece = 1000;
		b.fake->ignore_range = true;
		read_start(&b, &r, 4 * GRAIN, 2 * GRAIN);
		int fd = scratch();
		put(fd, 5 * GRAIN, 2 * GRAIN);
		b.asked->unasked = unasked;
		question_answer(g_steal_pointer(&b.asked), VERDICT_FETCH, 0, fd);
		read_wait(&r);
		g_assert_cmpint(r.error, ==, 0);
		g_assert_cmpuint(r.from, ==, unasked ? 0 : 4 * GRAIN);
		g_assert_cmpuint(r.bytes->len, ==, unasked ? SIZE : 3 * GRAIN);
		check(&r, 5 * GRAIN, 7 * GRAIN);
		read_clear(&r);
		source_close(b.source);
		g_assert_cmpint(b.error, ==, 0);
	}
}

static void test_denied_and_cancelled(void)
{
	struct box b;
	struct reading r;
	box_open(&b);
	read_start(&b, &r, 0, GRAIN);
	question_answer(g_steal_pointer(&b.asked), VERDICT_DENY, EDQUOT, scratch());
	read_wait(&r);
	g_assert_cmpint(r.error, ==, EDQUOT);
	read_clear(&r);
	read_start(&b, &r, 0, GRAIN);
	source_close(b.source); /* the handler will never answer */
	g_assert_true(r.done);
	g_assert_cmpint(r.error, ==, EIO);
	read_clear(&r);
	g_assert_cmpuint(b.ended, ==, 2);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/asked/nobody", test_nobody_asked);
	g_test_add_func("/asked/allowed", test_allowed);
	g_test_add_func("/asked/version", test_version);
	g_test_add_func("/asked/allowed-and-not-supplied", test_allowed_and_not_supplied);
	g_test_add_func("/asked/fetched", test_fetched);
	g_test_add_func("/asked/delivered-wider", test_delivered_wider);
	g_test_add_func("/asked/answered-while-closing", test_answered_while_closing);
	g_test_add_func("/asked/denied-and-cancelled", test_denied_and_cancelled);
	return g_test_run();
}
