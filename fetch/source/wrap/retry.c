/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/wrap/retry.h"
#include "fetch/base/lock.h"
#include "fetch/base/pool.h"
#include "fetch/source/wrap/attempt.h"
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
	struct trial *waiting;     /* in back-off; under lock */
	bool closing;              /* under lock */
};

/* One request of the caller. */
struct trial {
	struct attempt attempt; /* first */
	struct retry *retry;
	struct alarm alarm;
	struct trial *next, *previous; /* of `waiting` */
};

/* U(0.5, 1.5) × the step: clients that failed together do not come back together. */
static int64_t backoff(const struct trial *t, unsigned attempt)
{
	uint64_t seed[2] = {(uint64_t)clock_now(), (uint64_t)(uintptr_t)t};
	uint64_t random = XXH3_64bits(seed, sizeof(seed)) >> 11;
	double factor = 0.5 + (double)random / (double)(UINT64_C(1) << 53);
	return (int64_t)((double)(BACKOFF_NS << MIN(attempt, 6u)) * factor);
}

static void waiting_add_locked(struct retry *r, struct trial *t) REQUIRES(r->lock)
{
	t->previous = NULL;
	t->next = r->waiting;
	if (t->next != NULL)
		t->next->previous = t;
	r->waiting = t;
}

static void waiting_remove_locked(struct retry *r, struct trial *t) REQUIRES(r->lock)
{
	if (t->previous != NULL)
		t->previous->next = t->next;
	else
		r->waiting = t->next;
	if (t->next != NULL)
		t->next->previous = t->previous;
}

static void trial_ring(struct alarm *alarm)
{
	struct trial *t = (struct trial *)(void *)((char *)alarm - offsetof(struct trial, alarm));
	mutex_lock(&t->retry->lock);
	bool closing = t->retry->closing;
	if (!closing)
		waiting_remove_locked(t->retry, t);
	mutex_unlock(&t->retry->lock);
	if (!closing) /* else retry_halt() finishes it */
		attempt_start(&t->attempt, t->retry->inner);
}

/* Schedules another attempt; false: there will be none. */
static bool trial_postpone(struct trial *t, const GError *error)
{
	struct retry *r = t->retry;
	struct source_request *request = t->attempt.request;
	unsigned attempt = request->attempt;
	if (attempt >= r->retries || !fetch_error_transient(error))
		return false;
	int64_t at = MAX(clock_now(), t->attempt.in.base.retry_ns) + backoff(t, attempt);
	if (r->wait_ns != 0 && at - t->attempt.since_ns > r->wait_ns)
		return false; /* the waiters will have given up by then */
	mutex_lock(&r->lock);
	bool closing = r->closing;
	if (!closing) {
		if (r->clock == NULL)
			r->clock = alarm_clock_new();
		__atomic_store_n(&request->attempt, attempt + 1, __ATOMIC_RELAXED);
		__atomic_store_n(&request->retry_ns, at, __ATOMIC_RELAXED);
		waiting_add_locked(r, t);
		/* under the lock, or the close could miss it */
		alarm_set(r->clock, &t->alarm, at);
	}
	mutex_unlock(&r->lock);
	return !closing;
}

static void trial_ended(struct attempt *a, const GError *error)
{
	if (error == NULL || !trial_postpone((struct trial *)a, error))
		attempt_finish(a, error);
}

static struct attempt *trial_new(struct source *s)
{
	struct trial *t = g_new0(struct trial, 1);
	t->retry = (struct retry *)s;
	t->attempt.ended = trial_ended;
	t->alarm.ring = trial_ring;
	return &t->attempt;
}

static void retry_list(struct source *s, struct source_list *req)
{
	struct attempt *a = trial_new(s);
	attempt_list(a, req);
	attempt_start(a, ((struct retry *)s)->inner);
}

static void retry_stat(struct source *s, struct source_stat *req)
{
	struct attempt *a = trial_new(s);
	attempt_stat(a, req);
	attempt_start(a, ((struct retry *)s)->inner);
}

static void retry_read(struct source *s, struct source_read *req)
{
	struct attempt *a = trial_new(s);
	attempt_read(a, req);
	attempt_start(a, ((struct retry *)s)->inner);
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
	struct trial *waiting = g_steal_pointer(&r->waiting);
	mutex_unlock(&r->lock);
	g_autoptr(GError) cancelled =
	        g_error_new(FETCH_ERROR, FETCH_CANCELLED, "the source is being closed");
	for (struct trial *next, *t = waiting; t != NULL; t = next) {
		next = t->next;
		attempt_finish(&t->attempt, cancelled);
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
	r->base.lists = inner;
	r->base.dir_mode = inner->dir_mode;
	r->base.file_mode = inner->file_mode;
	r->base.cyclic = inner->cyclic;
	r->inner = inner;
	r->retries = retries;
	r->wait_ns = wait_ms * INT64_C(1000000);
	mutex_init(&r->lock, RANK_RETRY);
	return &r->base;
}
