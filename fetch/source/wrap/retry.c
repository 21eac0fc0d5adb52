/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/wrap/retry.h"
#include "fetch/base/lock.h"
#include "fetch/base/pool.h"
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#define BACKOFF_NS INT64_C(200000000)

struct retry {
	struct source base;
	struct source *inner; /* owned */
	unsigned retries;
	int64_t wait_ns; /* 0 = for ever */
	struct mutex lock;
	struct alarm_clock *clock; /* made for the first back-off; under lock */
	struct attempt *waiting;   /* in back-off; under lock */
	bool closing;              /* under lock */
};

/* One request of the caller, and its copy for the inner source. */
struct attempt {
	union {
		struct source_request base;
		struct source_list list;
		struct source_stat stat;
		struct source_read read;
	} in; /* first: an attempt is found from it */
	struct retry *retry;
	struct source_request *request; /* the caller's */
	void (*start)(struct attempt *a);
	void (*finish)(struct attempt *a,
	               const GError *error); /* frees, then the caller's done() */
	struct alarm alarm;
	int64_t since_ns;                /* of its begin, or its last byte */
	struct attempt *next, *previous; /* of `waiting` */
	uint64_t delivered, end;         /* read: delivered up to this offset, of all wanted */
	bool begun;                      /* read: the caller's begin() was called */
	bool enough;                     /* read: all the caller wants is delivered */
};

/* U(0.5, 1.5) × the step: clients that failed together do not come back together. */
static int64_t backoff(const struct attempt *a, unsigned attempt)
{
	uint64_t seed[2] = {(uint64_t)clock_now(), (uint64_t)(uintptr_t)a};
	uint64_t random = XXH3_64bits(seed, sizeof(seed)) >> 11;
	double factor = 0.5 + (double)random / (double)(UINT64_C(1) << 53);
	return (int64_t)((double)(BACKOFF_NS << MIN(attempt, 6u)) * factor);
}

static void waiting_add_locked(struct retry *r, struct attempt *a) REQUIRES(r->lock)
{
	a->previous = NULL;
	a->next = r->waiting;
	if (a->next != NULL)
		a->next->previous = a;
	r->waiting = a;
}

static void waiting_remove_locked(struct retry *r, struct attempt *a) REQUIRES(r->lock)
{
	if (a->previous != NULL)
		a->previous->next = a->next;
	else
		r->waiting = a->next;
	if (a->next != NULL)
		a->next->previous = a->previous;
}

static void attempt_start(struct attempt *a)
{
	__atomic_store_n(&a->request->retry_ns, 0, __ATOMIC_RELAXED);
	a->start(a);
}

static void attempt_ring(struct alarm *alarm)
{
	struct attempt *a =
	        (struct attempt *)(void *)((char *)alarm - offsetof(struct attempt, alarm));
	mutex_lock(&a->retry->lock);
	bool closing = a->retry->closing;
	if (!closing)
		waiting_remove_locked(a->retry, a);
	mutex_unlock(&a->retry->lock);
	if (!closing) /* else retry_halt() finishes it */
		attempt_start(a);
}

static struct attempt *attempt_new(struct source *s, struct source_request *request)
{
	struct attempt *a = g_new0(struct attempt, 1);
	a->retry = (struct retry *)s;
	a->request = request;
	a->in.base.path = request->path;
	a->alarm.ring = attempt_ring;
	a->since_ns = clock_now();
	return a;
}

/* Schedules another attempt; false: there will be none. */
static bool attempt_postpone(struct attempt *a, const GError *error)
{
	struct retry *r = a->retry;
	unsigned attempt = a->request->attempt;
	if (attempt >= r->retries || !fetch_error_transient(error))
		return false;
	int64_t at = MAX(clock_now(), a->in.base.retry_ns) + backoff(a, attempt);
	if (r->wait_ns != 0 && at - a->since_ns > r->wait_ns)
		return false; /* the waiters will have given up by then */
	mutex_lock(&r->lock);
	bool closing = r->closing;
	if (!closing) {
		if (r->clock == NULL)
			r->clock = alarm_clock_new();
		__atomic_store_n(&a->request->attempt, attempt + 1, __ATOMIC_RELAXED);
		__atomic_store_n(&a->request->retry_ns, at, __ATOMIC_RELAXED);
		waiting_add_locked(r, a);
		/* under the lock, or the close could miss it */
		alarm_set(r->clock, &a->alarm, at);
	}
	mutex_unlock(&r->lock);
	return !closing;
}

static void attempt_done(struct source_request *in, const GError *error)
{
	struct attempt *a = (struct attempt *)in;
	/* a failure after the last byte does not matter */
	bool whole = a->begun && a->delivered == a->end && fetch_error_transient(error);
	if (a->enough || whole)
		error = NULL;
	if (error == NULL || !attempt_postpone(a, error))
		a->finish(a, error);
}

static void request_done(struct attempt *a, const GError *error)
{
	struct source_request *request = a->request;
	g_free(a);
	request->done(request, error);
}

/* ---- list and stat ---- */

static void list_start(struct attempt *a)
{
	a->in.list.base.done = attempt_done;
	source_list(a->retry->inner, &a->in.list);
}

static void list_finish(struct attempt *a, const GError *error)
{
	((struct source_list *)a->request)->listing = a->in.list.listing;
	request_done(a, error);
}

static void retry_list(struct source *s, struct source_list *req)
{
	struct attempt *a = attempt_new(s, &req->base);
	a->in.list.previous = req->previous;
	a->start = list_start;
	a->finish = list_finish;
	attempt_start(a);
}

static void stat_start(struct attempt *a)
{
	a->in.stat.base.done = attempt_done;
	source_stat(a->retry->inner, &a->in.stat);
}

static void stat_finish(struct attempt *a, const GError *error)
{
	struct source_stat *req = (struct source_stat *)a->request;
	if (error == NULL) {
		req->size = a->in.stat.size;
		req->mtime_ns = a->in.stat.mtime_ns;
		req->mtime_known = a->in.stat.mtime_known;
		req->version = a->in.stat.version;
	}
	request_done(a, error);
}

static void retry_stat(struct source *s, struct source_stat *req)
{
	struct attempt *a = attempt_new(s, &req->base);
	a->in.stat.listed = req->listed;
	a->start = stat_start;
	a->finish = stat_finish;
	attempt_start(a);
}

/* ---- read ---- */

static struct source_read *read_request(const struct attempt *a)
{
	return (struct source_read *)a->request;
}

static uint64_t read_end(const struct source_read *req)
{
	return req->offset + req->length;
}

static int read_begin(struct source_read *in)
{
	struct attempt *a = (struct attempt *)in;
	struct source_read *req = read_request(a);
	if (a->begun)
		return 0;
	a->begun = true;
	req->offset = in->offset;
	req->length = in->length;
	req->version = in->version;
	a->delivered = in->offset;
	a->end = read_end(in);
	return req->begin(req);
}

static int read_lend(struct source_read *in, uint64_t offset, uint64_t length)
{
	struct source_read *req = read_request((struct attempt *)in);
	return req->lend ? req->lend(req, offset, length) : -1;
}

static void read_give_back(struct source_read *in)
{
	struct source_read *req = read_request((struct attempt *)in);
	req->give_back(req);
}

static int read_data(struct source_read *in, uint64_t offset, const void *buffer, size_t length)
{
	struct attempt *a = (struct attempt *)in;
	uint64_t from = MAX(offset, a->delivered);
	uint64_t to = MIN(offset + length, a->end);
	if (from < to) {
		struct source_read *req = read_request(a);
		a->since_ns = clock_now();
		const char *bytes = buffer != NULL ? (const char *)buffer + (from - offset) : NULL;
		a->delivered = to;
		int result = req->data(req, from, bytes, to - from);
		if (result != 0)
			return result;
	}
	/* the server sends the whole file again: the rest is not needed */
	a->enough = a->delivered == a->end && offset + length < read_end(in);
	return a->enough ? -ECANCELED : 0;
}

static void read_start(struct attempt *a)
{
	struct source_read *req = read_request(a), *in = &a->in.read;
	in->base.done = attempt_done;
	in->begin = read_begin;
	in->data = read_data;
	in->size = req->size;
	in->mtime_ns = req->mtime_ns;
	in->grain = req->grain;
	in->lend = read_lend;
	in->give_back = read_give_back;
	in->offset = a->begun ? a->delivered : req->offset;
	in->length = read_end(req) - in->offset;
	in->pinned = a->begun ? req->version : req->pinned;
	source_read(a->retry->inner, in);
}

static void read_finish(struct attempt *a, const GError *error)
{
	request_done(a, error);
}

static void retry_read(struct source *s, struct source_read *req)
{
	struct attempt *a = attempt_new(s, &req->base);
	a->start = read_start;
	a->finish = read_finish;
	attempt_start(a);
}

/* ---- life ---- */

/* Ends all back-offs, and allows no new ones. */
static void retry_halt(struct retry *r)
{
	mutex_lock(&r->lock);
	r->closing = true;
	struct alarm_clock *clock = g_steal_pointer(&r->clock);
	mutex_unlock(&r->lock);
	/* no alarm rings any more; attempts that rang before are with the inner source */
	if (clock != NULL)
		alarm_clock_free(clock);
	mutex_lock(&r->lock);
	struct attempt *waiting = g_steal_pointer(&r->waiting);
	mutex_unlock(&r->lock);
	g_autoptr(GError) cancelled =
	        g_error_new(FETCH_ERROR, FETCH_CANCELLED, "the source is being closed");
	for (struct attempt *next, *a = waiting; a != NULL; a = next) {
		next = a->next;
		a->finish(a, cancelled);
	}
}

static void retry_stop(struct source *s)
{
	retry_halt((struct retry *)s);
	source_stop(((struct retry *)s)->inner);
}

static void retry_close(struct source *s)
{
	struct retry *r = (struct retry *)s;
	retry_halt(r);
	source_close(r->inner);
	mutex_destroy(&r->lock);
	g_free(r);
}

static char *retry_describe(struct source *s, const char *path)
{
	return source_describe(((struct retry *)s)->inner, path);
}

static const struct source_ops retry_ops = {
        .name = "retry",
        .list = retry_list,
        .stat = retry_stat,
        .read = retry_read,
        .stop = retry_stop,
        .close = retry_close,
        .describe = retry_describe,
};

struct source *retry_new(struct source *inner, unsigned retries, unsigned wait_ms)
{
	struct retry *r = g_new0(struct retry, 1);
	r->base.ops = &retry_ops;
	r->base.xattrs = inner->xattrs;
	r->base.shape = inner->shape;
	r->base.dir_mode = inner->dir_mode;
	r->base.file_mode = inner->file_mode;
	r->base.cyclic = inner->cyclic;
	r->inner = inner;
	r->retries = retries;
	r->wait_ns = wait_ms * INT64_C(1000000);
	mutex_init(&r->lock, RANK_RETRY);
	return &r->base;
}
