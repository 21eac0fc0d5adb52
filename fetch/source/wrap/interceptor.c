/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/wrap/interceptor.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/base/lock.h"
#include "fetch/source/wrap/supplied.h"

#define PIECE 262144
/* A shorter rest is received although nothing needs it: that is cheaper than a new connection */
#define DRAIN (UINT64_C(1) << 20)

struct interceptor {
	struct source base;
	struct source *inner; /* owned */
	const struct interceptor_ops *ops;
	void *user;
	struct mutex lock;
	struct condition idle;
	/* under lock: */
	unsigned busy;     /* questions that have not ended */
	unsigned entering; /* threads that are calling the inner source with an answer */
	bool closing;
};

struct interception {
	struct source_read read; /* first; the read of the inner source */
	struct source_stat stat; /* the inner source's, for the version of supplied data */
	struct question question;
	struct interceptor *source;
	struct source_read *outer;
	struct extent wanted; /* the range that the inner source fetches */
	bool enough;          /* all of `wanted` has arrived */
	bool unneeded;        /* the reader needs no more */
	int fd;               /* owned; -1: none */
};

static void interceptor_list(struct source *s, struct source_list *req)
{
	source_pass_list(((struct interceptor *)s)->inner, req);
}

static void interceptor_stat(struct source *s, struct source_stat *req)
{
	source_pass_stat(((struct interceptor *)s)->inner, req);
}

static void interceptor_read(struct source *s, struct source_read *req)
{
	struct interceptor *a = (struct interceptor *)s;
	struct interception *q = g_new0(struct interception, 1);
	q->question = (struct question){
	        .path = req->base.path,
	        .offset = req->offset,
	        .length = MIN(req->length, req->size - req->offset),
	        .size = req->size,
	        .cause = req->cause,
	};
	q->source = a;
	q->outer = req;
	q->fd = -1;
	mutex_lock(&a->lock);
	a->busy++;
	mutex_unlock(&a->lock);
	__atomic_store_n(&req->handler_pending, true, __ATOMIC_RELAXED);
	if (a->ops->ask(a->user, &q->question))
		return;
	__atomic_store_n(&req->handler_pending, false, __ATOMIC_RELAXED);
	mutex_lock(&a->lock);
	if (--a->busy == 0)
		condition_broadcast(&a->idle);
	mutex_unlock(&a->lock);
	g_free(q);
	source_pass_read(a->inner, req);
}

/* false: the source is being closed, and the inner one must not be called any more. */
static bool inner_enter(struct interceptor *a)
{
	mutex_lock(&a->lock);
	bool open = !a->closing;
	a->entering += open;
	mutex_unlock(&a->lock);
	return open;
}

static void inner_leave(struct interceptor *a)
{
	mutex_lock(&a->lock);
	a->entering--;
	condition_broadcast(&a->idle);
	mutex_unlock(&a->lock);
}

/* Handlers are still asked, until the close. */
static void interceptor_stop(struct source *s)
{
	source_stop(((struct interceptor *)s)->inner);
}

static void interceptor_close(struct source *s)
{
	struct interceptor *a = (struct interceptor *)s;
	a->ops->stop(a->user);
	mutex_lock(&a->lock);
	a->closing = true;
	while (a->entering > 0)
		condition_wait(&a->idle, &a->lock);
	mutex_unlock(&a->lock);
	/* Fetches end with the inner source, deliveries of supplied data by themselves. */
	source_close(a->inner);
	mutex_lock(&a->lock);
	while (a->busy > 0)
		condition_wait(&a->idle, &a->lock);
	mutex_unlock(&a->lock);
	mutex_destroy(&a->lock);
	condition_destroy(&a->idle);
	g_free(a);
}

static char *interceptor_describe(struct source *s, const char *path)
{
	return source_describe(((struct interceptor *)s)->inner, path);
}

static const struct source_ops interceptor_ops = {
        .name = "asked",
        .list = interceptor_list,
        .stat = interceptor_stat,
        .read = interceptor_read,
        .stop = interceptor_stop,
        .close = interceptor_close,
        .describe = interceptor_describe,
};

struct source *interceptor_new(struct source *inner, const struct interceptor_ops *ops, void *user)
{
	struct interceptor *a = g_new0(struct interceptor, 1);
	a->base = (struct source){.ops = &interceptor_ops,
	                          .xattrs = inner->xattrs,
	                          .lists = inner,
	                          .dir_mode = inner->dir_mode,
	                          .file_mode = inner->file_mode,
	                          .cyclic = inner->cyclic};
	a->inner = inner;
	a->ops = ops;
	a->user = user;
	mutex_init(&a->lock, RANK_INTERCEPTOR);
	condition_init(&a->idle);
	return &a->base;
}

static void interception_end(struct interception *q, const GError *error)
{
	struct interceptor *a = q->source;
	struct source_request *outer = &q->outer->base;
	outer->done(outer, error);
	a->ops->ended(a->user, &q->question,
	              error && !q->unneeded ? fetch_error_errno(error, false) : 0);
	if (q->fd >= 0)
		close(q->fd);
	g_free(q);
	mutex_lock(&a->lock);
	if (--a->busy == 0)
		condition_broadcast(&a->idle);
	mutex_unlock(&a->lock);
}

static void interception_cancel(struct interception *q)
{
	g_autoptr(GError) error =
	        g_error_new(FETCH_ERROR, FETCH_CANCELLED, "%s: cancelled", q->outer->base.path);
	interception_end(q, error);
}

/* The usable part of the supplied extent `e`: whole grains around the question. */
static struct extent useful(const struct interception *q, struct extent e)
{
	uint64_t grain = q->outer->grain ? q->outer->grain : 1;
	uint64_t end = q->question.offset + q->question.length;
	e.offset = MIN((e.offset + grain - 1) & ~(grain - 1), q->question.offset);
	e.end = e.end == q->question.size ? e.end : MAX(e.end & ~(grain - 1), end);
	return e;
}

/* 0 or a positive errno. ECANCELED: the reader needs no more. */
static int hand_out(struct interception *q, struct extent e)
{
	g_autofree char *piece = g_malloc(MIN(PIECE, e.end - e.offset));
	for (uint64_t at = e.offset; at < e.end;) {
		size_t n = MIN(PIECE, e.end - at);
		int err = supplied_read(q->fd, at, piece, n);
		if (err == 0)
			err = -q->outer->data(q->outer, at, piece, n);
		if (err)
			return err;
		at += n;
	}
	return 0;
}

static void supplied_deliver(struct interception *q, source_version version)
{
	struct source_read *outer = q->outer;
	g_autoptr(GError) error = NULL;
	struct extent e = {0};
	int err = 0;
	if (!supplied_around(q->fd, q->question.offset, q->question.offset + q->question.length,
	                     q->question.size, &e))
		err = EIO; /* the file had the data at the answer: it was truncated since */
	e = useful(q, e);
	outer->offset = e.offset;
	outer->length = e.end - e.offset;
	outer->version = version;
	outer->supplied = true;
	if (err == 0)
		err = -outer->begin(outer);
	if (err == 0)
		err = hand_out(q, e);
	q->unneeded = err == ECANCELED;
	if (err)
		g_set_error(&error, LOCAL_ERROR, err, "%s: storing a handler's data: %s",
		            outer->base.path, g_strerror(err));
	interception_end(q, error);
}

static void version_known(struct source_request *req, const GError *error)
{
	struct interception *q =
	        (struct interception *)((char *)req - offsetof(struct interception, stat));
	const struct source_read *outer = q->outer;
	uint64_t listed[2] = {outer->size, (uint64_t)outer->mtime_ns};
	source_version version = q->stat.version;
	if (error && g_error_matches(error, FETCH_ERROR, FETCH_CANCELLED)) {
		interception_end(q, error);
		return;
	}
	if (!error && q->stat.size != outer->size) {
		g_autoptr(GError) changed =
		        g_error_new(FETCH_ERROR, FETCH_CHANGED,
		                    "%s: its size differs from the listing", req->path);
		interception_end(q, changed);
		return;
	}
	if (error || version == 0)
		version = XXH3_64bits(listed, sizeof listed) | 1;
	supplied_deliver(q, version);
}

/* A source may deliver more than requested: that is dropped, unless no handler was asked. */
static int fetched_begin(struct source_read *req)
{
	struct interception *q = (struct interception *)req;
	struct source_read *outer = q->outer;
	struct extent e = {req->offset, req->offset + req->length};
	if (!q->question.unasked)
		e = (struct extent){MAX(e.offset, q->wanted.offset), MIN(e.end, q->wanted.end)};
	q->wanted = e;
	outer->offset = e.offset;
	outer->length = e.end - e.offset;
	outer->version = req->version;
	outer->supplied = q->fd >= 0;
	int err = outer->begin(outer);
	q->unneeded = err == -ECANCELED;
	return err;
}

/* Supplied data replaces fetched data. */
static int wanted_data(struct interception *q, uint64_t offset, const void *buffer, size_t length)
{
	struct extent e;
	uint64_t end = offset + length;
	if (q->fd < 0 || !supplied_next(q->fd, offset, q->question.size, &e) || e.offset >= end)
		return q->outer->data(q->outer, offset, buffer, length);
	g_autofree char *mixed = g_memdup2(buffer, length);
	do {
		uint64_t from = MAX(e.offset, offset);
		int err =
		        supplied_read(q->fd, from, mixed + (from - offset), MIN(e.end, end) - from);
		if (err)
			return -err;
	} while (e.end < end && supplied_next(q->fd, e.end, q->question.size, &e) &&
	         e.offset < end);
	return q->outer->data(q->outer, offset, mixed, length);
}

static int fetched_data(struct source_read *req, uint64_t offset, const void *buffer, size_t length)
{
	struct interception *q = (struct interception *)req;
	uint64_t from = MAX(offset, q->wanted.offset), end = MIN(offset + length, q->wanted.end);
	int err = from < end
	                  ? wanted_data(q, from, (const char *)buffer + (from - offset), end - from)
	                  : 0;
	uint64_t rest = req->offset + req->length - (offset + length);
	q->enough = err == 0 && offset + length >= q->wanted.end;
	q->unneeded = err == -ECANCELED;
	return q->enough && rest >= DRAIN ? -ECANCELED : err;
}

static void fetched_done(struct source_request *req, const GError *error)
{
	struct interception *q = (struct interception *)req;
	interception_end(q, q->enough ? NULL : error);
}

/* The question's range, with the supplied data next to it. */
static struct extent fetch_extent(const struct interception *q)
{
	const struct question *asked = &q->question;
	struct extent whole = {asked->offset, asked->offset + asked->length}, e;
	uint64_t at = 0;
	while (q->fd >= 0 && supplied_next(q->fd, at, asked->size, &e)) {
		at = e.end;
		if (e.end < asked->offset || e.offset > asked->offset + asked->length)
			continue;
		e = useful(q, e);
		whole.offset = MIN(whole.offset, e.offset);
		whole.end = MAX(whole.end, e.end);
	}
	return whole;
}

static void fetch(struct interception *q)
{
	struct interceptor *a = q->source;
	struct source_read *outer = q->outer;
	if (!inner_enter(a)) {
		interception_cancel(q);
		return;
	}
	q->wanted = fetch_extent(q);
	q->read = (struct source_read){
	        .base = {.path = outer->base.path, .done = fetched_done},
	        .offset = q->wanted.offset,
	        .length = q->wanted.end - q->wanted.offset,
	        .size = outer->size,
	        .pinned = outer->pinned,
	        .mtime_ns = outer->mtime_ns,
	        .grain = outer->grain,
	        .cause = outer->cause,
	        .begin = fetched_begin,
	        .data = fetched_data,
	};
	__atomic_store_n(&outer->handler_pending, false, __ATOMIC_RELAXED);
	source_read(a->inner, &q->read);
	inner_leave(a);
}

static void version_ask(struct interception *q)
{
	struct interceptor *a = q->source;
	if (!inner_enter(a)) {
		interception_cancel(q);
		return;
	}
	q->stat.base = (struct source_request){.path = q->outer->base.path, .done = version_known};
	q->stat.listed_ns = q->outer->mtime_ns;
	source_stat(a->inner, &q->stat);
	inner_leave(a);
}

void question_answer(struct question *question, enum verdict verdict, int denied, int fd)
{
	struct interception *q =
	        (struct interception *)((char *)question - offsetof(struct interception, question));
	struct source_read *outer = q->outer;
	struct extent e;
	g_autoptr(GError) error = NULL;
	q->fd = fd;
	bool whole =
	        fd >= 0 && supplied_around(fd, question->offset,
	                                   question->offset + question->length, question->size, &e);
	if (verdict == VERDICT_FETCH && !whole) {
		fetch(q);
		return;
	}
	if (whole && (verdict == VERDICT_ALLOW || verdict == VERDICT_FETCH)) {
		if (outer->pinned)
			supplied_deliver(q, outer->pinned);
		else
			version_ask(q);
		return;
	}
	if (verdict == VERDICT_CANCEL) {
		interception_cancel(q);
		return;
	}
	if (verdict == VERDICT_ALLOW)
		g_set_error(&error, LOCAL_ERROR, EIO,
		            "%s: a handler allowed the access without supplying the data",
		            outer->base.path);
	else
		g_set_error(&error, DENIAL_ERROR, denied, "%s: denied by a handler: %s",
		            outer->base.path, g_strerror(denied));
	interception_end(q, error);
}
