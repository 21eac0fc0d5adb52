/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One request, and the mirrors that it is sent to, one after the other, until one serves it. */
#include <string.h>
#include "fetch/source/wrap/mirrors_private.h"

#define MS_NS INT64_C(1000000)
#define DETOUR_NS INT64_C(60000000000)
#define NONE UINT32_MAX

enum request_kind { KIND_LIST, KIND_STAT, KIND_READ };

struct failover {
	struct attempt attempt; /* first */
	struct pool_job job;    /* of the verdict, if no mirror could be asked */
	struct mirrors *mirrors;
	enum request_kind kind;
	unsigned now;                /* the mirror being asked */
	uint32_t allowed, asked;     /* sets of mirrors */
	bool kept;                   /* there is a listing, which may stay */
	unsigned maker;              /* the mirror that made it; NONE: unknown */
	uint32_t lacking;            /* set of mirrors that said that they do not have it */
	bool last;                   /* a failed mirror is being asked */
	GError *errors[MIRRORS_MAX]; /* owned; of each mirror that failed to serve it */
	int64_t retry_ns;            /* the earliest that a server gave; 0: none */
};

static uint32_t bit(unsigned mirror)
{
	return UINT32_C(1) << mirror;
}

static uint32_t bits_below(unsigned count)
{
	return (uint32_t)((UINT64_C(1) << count) - 1);
}

void mirrors_leave(struct mirrors *m)
{
	mutex_lock(&m->lock);
	if (--m->busy == 0)
		condition_broadcast(&m->idle);
	mutex_unlock(&m->lock);
}

/* The mirror to ask next; NONE. Failed ones come last, and not at all for a listing that may stay,
 * or while their server accepts no request. */
static unsigned choose_locked(struct failover *f) REQUIRES(f->mirrors->lock)
{
	const struct mirrors *m = f->mirrors;
	int64_t now = clock_now();
	uint32_t left = m->stopped ? 0 : f->allowed & ~f->asked, avoided = 0;
	if (f->kind != KIND_LIST)
		avoided = detour_mirrors(&m->detours, f->attempt.request->path, now);
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < m->count; i++) {
			const struct mirror *one = &m->mirrors[i];
			bool failed = one->health.failed;
			bool fits = round == 0   ? !failed && (avoided & bit(i)) == 0
			            : round == 1 ? !failed
			                         : failed && !f->kept && now >= one->limited_ns;
			if ((left & bit(i)) != 0 && fits)
				return i;
		}
	return NONE;
}

static unsigned maker_of(const struct mirrors *m, const struct listing *previous)
{
	for (unsigned i = 0; i < m->count; i++)
		if (source_shape_is(m->mirrors[i].inner, listing_validator(previous)))
			return i;
	return NONE;
}

/* Mirrors that may replace the listing of mirror `maker`. */
static uint32_t listers_locked(const struct mirrors *m, unsigned maker) REQUIRES(m->lock)
{
	const int64_t takeover_ns = m->options.takeover_ms * MS_NS;
	int64_t since_ns = 0;
	if (maker == NONE) /* the options are others: as if by the first one */
		maker = 0;
	for (unsigned i = 0; i <= maker; i++) {
		if (!m->mirrors[i].health.failed)
			return bits_below(maker + 1);
		since_ns = MAX(since_ns, m->mirrors[i].health.changed_ns);
	}
	bool over = m->options.takeover_ms != UINT_MAX && clock_now() - since_ns >= takeover_ns;
	return bits_below(over ? m->count : maker + 1);
}

/* No mirror was asked: the first one's last failure is the cause. */
static GError *error_unasked_locked(struct failover *f) REQUIRES(f->mirrors->lock)
{
	const struct mirrors *m = f->mirrors;
	for (unsigned i = 0; i < m->count; i++)
		if ((f->allowed & bit(i)) != 0 && m->mirrors[i].cause != NULL)
			return g_error_new(FETCH_ERROR, (gint)m->mirrors[i].code, "%s",
			                   m->mirrors[i].cause);
	return g_error_new(FETCH_ERROR, FETCH_UNREACHABLE, "no mirror can be asked");
}

static void retry_note(struct failover *f, int64_t retry_ns)
{
	if (retry_ns > clock_now())
		f->retry_ns = f->retry_ns == 0 ? retry_ns : MIN(f->retry_ns, retry_ns);
}

/* A mirror that wants to be asked later may have what others lack. */
static void error_later_locked(struct failover *f, GError *error) REQUIRES(f->mirrors->lock)
{
	const struct mirrors *m = f->mirrors;
	for (unsigned i = 0; i < m->count; i++)
		if ((f->allowed & ~f->asked & bit(i)) != 0)
			retry_note(f, m->mirrors[i].limited_ns);
	if (f->retry_ns != 0 && error->code != FETCH_CHANGED && !fetch_error_transient(error))
		error->code = FETCH_SERVER;
}

/* Of the kind of the first one, with the causes of all. NULL: none was asked. */
static GError *error_joined(const struct failover *f)
{
	GError *error = NULL;
	for (unsigned i = 0; i < f->mirrors->count; i++)
		if (error == NULL && f->errors[i] != NULL) {
			error = g_error_copy(f->errors[i]);
		} else if (f->errors[i] != NULL) {
			char *both = g_strconcat(error->message, "; ", f->errors[i]->message, NULL);
			g_free(error->message);
			error->message = both;
		}
	return error;
}

static GError *verdict_locked(struct failover *f) REQUIRES(f->mirrors->lock)
{
	struct mirrors *m = f->mirrors;
	if (m->stopped)
		return g_error_new(FETCH_ERROR, FETCH_CANCELLED, "the source is being closed");
	GError *error = error_joined(f);
	if (error == NULL)
		error = error_unasked_locked(f);
	error_later_locked(f, error);
	/* only its own mirror can say that a directory is gone; if that is unknown, all of them */
	uint32_t own = f->maker != NONE ? bit(f->maker) : bits_below(m->count);
	if (f->kept && (own & ~f->lacking) != 0 && mirror_first_locked(f->mirrors) < m->count) {
		error->code = FETCH_CANCELLED;
		g_prefix_error(&error, "the listing stays while its mirror has failed: ");
	}
	return error;
}

/* Ends the request. `error` is taken. */
static void failover_end(struct failover *f, GError *error)
{
	struct mirrors *m = f->mirrors;
	for (unsigned i = 0; i < m->count; i++)
		g_clear_error(&f->errors[i]);
	/* for the retries above */
	__atomic_store_n(&f->attempt.request->retry_ns, f->retry_ns, __ATOMIC_RELAXED);
	mirrors_leave(m);
	attempt_finish(&f->attempt, error);
	g_clear_error(&error);
}

static void failover_fail(struct failover *f)
{
	mutex_lock(&f->mirrors->lock);
	GError *error = verdict_locked(f);
	mutex_unlock(&f->mirrors->lock);
	failover_end(f, error);
}

static void failover_fail_run(struct pool_job *job)
{
	failover_fail((struct failover *)(void *)((char *)job - offsetof(struct failover, job)));
}

/* The first mirror's version is accepted, whatever is listed, as that of a single source. Where
 * others have made listings it must not be older: it may have returned with a stale tree. */
static enum source_demand demand_of(const struct mirrors *m, unsigned mirror)
{
	if (mirror > 0)
		return DEMAND_LISTED;
	bool others = (__atomic_load_n(&m->makers, __ATOMIC_RELAXED) & ~bit(0)) != 0;
	return others ? DEMAND_NO_OLDER : DEMAND_ANY;
}

/* false: no mirror is left to be asked. */
static bool failover_next(struct failover *f)
{
	struct mirrors *m = f->mirrors;
	struct attempt *a = &f->attempt;
	mutex_lock(&f->mirrors->lock);
	unsigned next = choose_locked(f);
	if (next != NONE) {
		f->now = next;
		f->asked |= bit(next);
		f->last = m->mirrors[next].health.failed;
		m->mirrors[next].requests++;
	}
	mutex_unlock(&f->mirrors->lock);
	if (next == NONE)
		return false;
	if (f->kind == KIND_READ)
		a->in.read.demand =
		        MAX(demand_of(m, next), ((struct source_read *)a->request)->demand);
	if (f->kind == KIND_STAT)
		a->in.stat.demand =
		        MAX(demand_of(m, next), ((struct source_stat *)a->request)->demand);
	attempt_start(a, m->mirrors[next].inner);
	return true;
}

/* A probe that the mirror has answered. */
static bool is_probed(const struct failover *f, const GError *error)
{
	return f->kind == KIND_READ && f->attempt.in.read.probe && source_probed_absent(error);
}

static void failover_ended(struct attempt *a, const GError *error)
{
	struct failover *f = (struct failover *)a;
	struct mirrors *m = f->mirrors;
	int64_t retry_ns = a->in.base.retry_ns, now = clock_now();
	const GError *failure = is_probed(f, error) ? NULL : error;
	bool elsewhere = mirror_error_elsewhere(failure);
	mutex_lock(&m->lock);
	struct mirror_news news = mirror_answered_locked(m, f->now, failure, a->in.base.started_ns,
	                                                 retry_ns, f->last);
	if (elsewhere && f->kind != KIND_LIST)
		detour_note(&m->detours, a->request->path, f->now, now,
		            MAX(now + DETOUR_NS, retry_ns));
	mutex_unlock(&m->lock);
	if (error == NULL && f->kind == KIND_LIST)
		mirrors_note_maker(m, f->now);
	mirror_tell(m, news, failure);
	if (g_error_matches(error, FETCH_ERROR, FETCH_MISSING)) {
		f->lacking |= bit(f->now);
		if (f->maker == NONE)
			f->allowed = bits_below(m->count);
	}
	/* an unusable answer after the last byte: no mirror has anything left to send */
	if (!elsewhere || attempt_delivered(a)) {
		f->retry_ns = 0;
		failover_end(f, error != NULL ? g_error_copy(error) : NULL);
		return;
	}
	retry_note(f, retry_ns);
	f->errors[f->now] = g_error_copy(error);
	if (!failover_next(f))
		failover_fail(f);
}

static struct failover *failover_new(struct source *s, enum request_kind kind)
{
	struct failover *f = g_new0(struct failover, 1);
	f->mirrors = (struct mirrors *)s;
	f->kind = kind;
	f->allowed = bits_below(f->mirrors->count);
	f->attempt.ended = failover_ended;
	f->job.run = failover_fail_run;
	mutex_lock(&f->mirrors->lock);
	f->mirrors->busy++;
	mutex_unlock(&f->mirrors->lock);
	return f;
}

/* A request does not end within the call that submits it: see source.h. */
static void failover_begin(struct failover *f)
{
	struct mirrors *m = f->mirrors;
	mutex_lock(&m->lock);
	m->busy++; /* `f` may end meanwhile */
	mutex_unlock(&m->lock);
	if (!failover_next(f))
		pool_submit(m->pool, &f->job);
	mirror_test_due(m);
	mirrors_leave(m);
}

void failover_list(struct source *s, struct source_list *req)
{
	struct failover *f = failover_new(s, KIND_LIST);
	attempt_list(&f->attempt, req);
	if (req->previous != NULL) {
		f->maker = maker_of(f->mirrors, req->previous);
		mutex_lock(&f->mirrors->lock);
		f->allowed = listers_locked(f->mirrors, f->maker);
		mutex_unlock(&f->mirrors->lock);
		f->kept = true;
	}
	failover_begin(f);
}

void failover_stat(struct source *s, struct source_stat *req)
{
	struct failover *f = failover_new(s, KIND_STAT);
	attempt_stat(&f->attempt, req);
	failover_begin(f);
}

void failover_read(struct source *s, struct source_read *req)
{
	struct failover *f = failover_new(s, KIND_READ);
	attempt_read(&f->attempt, req);
	failover_begin(f);
}
