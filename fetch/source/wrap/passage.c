/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One request on its way from mirror to mirror. */
#include <string.h>
#include "fetch/source/wrap/mirrors_private.h"

#define MS_NS INT64_C(1000000)
#define DETOUR_NS INT64_C(60000000000)
#define NONE UINT32_MAX

enum kind { KIND_LIST, KIND_STAT, KIND_READ };

struct passage {
	struct attempt attempt; /* first */
	struct pool_job job;    /* of the verdict, if no mirror could be asked */
	struct mirrors *mirrors;
	enum kind kind;
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
static unsigned choose_locked(struct passage *p) REQUIRES(p->mirrors->lock)
{
	const struct mirrors *m = p->mirrors;
	int64_t now = clock_now();
	uint32_t left = m->stopped ? 0 : p->allowed & ~p->asked, avoided = 0;
	if (p->kind != KIND_LIST)
		avoided = detour_mirrors(&m->detours, p->attempt.request->path, now);
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < m->count; i++) {
			const struct mirror *one = &m->mirrors[i];
			bool failed = one->health.failed;
			bool fits = round == 0   ? !failed && (avoided & bit(i)) == 0
			            : round == 1 ? !failed
			                         : failed && !p->kept && now >= one->limited_ns;
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
static GError *error_unasked_locked(struct passage *p) REQUIRES(p->mirrors->lock)
{
	const struct mirrors *m = p->mirrors;
	for (unsigned i = 0; i < m->count; i++)
		if ((p->allowed & bit(i)) != 0 && m->mirrors[i].cause != NULL)
			return g_error_new(FETCH_ERROR, (gint)m->mirrors[i].code, "%s",
			                   m->mirrors[i].cause);
	return g_error_new(FETCH_ERROR, FETCH_UNREACHABLE, "no mirror can be asked");
}

static void retry_note(struct passage *p, int64_t retry_ns)
{
	if (retry_ns > clock_now())
		p->retry_ns = p->retry_ns == 0 ? retry_ns : MIN(p->retry_ns, retry_ns);
}

/* A mirror that wants to be asked later may have what others lack. */
static void error_later_locked(struct passage *p, GError *error) REQUIRES(p->mirrors->lock)
{
	const struct mirrors *m = p->mirrors;
	for (unsigned i = 0; i < m->count; i++)
		if ((p->allowed & ~p->asked & bit(i)) != 0)
			retry_note(p, m->mirrors[i].limited_ns);
	if (p->retry_ns != 0 && error->code != FETCH_CHANGED && !fetch_error_transient(error))
		error->code = FETCH_SERVER;
}

/* Of the kind of the first one, with the causes of all. NULL: none was asked. */
static GError *error_joined(const struct passage *p)
{
	GError *error = NULL;
	for (unsigned i = 0; i < p->mirrors->count; i++)
		if (error == NULL && p->errors[i] != NULL) {
			error = g_error_copy(p->errors[i]);
		} else if (p->errors[i] != NULL) {
			char *both = g_strconcat(error->message, "; ", p->errors[i]->message, NULL);
			g_free(error->message);
			error->message = both;
		}
	return error;
}

static GError *verdict_locked(struct passage *p) REQUIRES(p->mirrors->lock)
{
	struct mirrors *m = p->mirrors;
	if (m->stopped)
		return g_error_new(FETCH_ERROR, FETCH_CANCELLED, "the source is being closed");
	GError *error = error_joined(p);
	if (error == NULL)
		error = error_unasked_locked(p);
	error_later_locked(p, error);
	/* only its own mirror can say that a directory is gone; if that is unknown, all of them */
	uint32_t own = p->maker != NONE ? bit(p->maker) : bits_below(m->count);
	if (p->kept && (own & ~p->lacking) != 0 && mirror_first_locked(p->mirrors) < m->count) {
		error->code = FETCH_CANCELLED;
		g_prefix_error(&error, "the listing stays while its mirror has failed: ");
	}
	return error;
}

/* Ends the request. `error` is taken. */
static void passage_end(struct passage *p, GError *error)
{
	struct mirrors *m = p->mirrors;
	for (unsigned i = 0; i < m->count; i++)
		g_clear_error(&p->errors[i]);
	/* for the retries above */
	__atomic_store_n(&p->attempt.request->retry_ns, p->retry_ns, __ATOMIC_RELAXED);
	mirrors_leave(m);
	attempt_finish(&p->attempt, error);
	g_clear_error(&error);
}

static void passage_fail(struct passage *p)
{
	mutex_lock(&p->mirrors->lock);
	GError *error = verdict_locked(p);
	mutex_unlock(&p->mirrors->lock);
	passage_end(p, error);
}

static void passage_fail_run(struct pool_job *job)
{
	passage_fail((struct passage *)(void *)((char *)job - offsetof(struct passage, job)));
}

/* false: no mirror is left to be asked. */
static bool passage_next(struct passage *p)
{
	struct mirrors *m = p->mirrors;
	struct attempt *a = &p->attempt;
	mutex_lock(&p->mirrors->lock);
	unsigned next = choose_locked(p);
	if (next != NONE) {
		p->now = next;
		p->asked |= bit(next);
		p->last = m->mirrors[next].health.failed;
		m->mirrors[next].requests++;
	}
	mutex_unlock(&p->mirrors->lock);
	if (next == NONE)
		return false;
	if (p->kind == KIND_READ)
		a->in.read.as_listed = next > 0;
	if (p->kind == KIND_STAT)
		a->in.stat.as_listed = next > 0;
	attempt_start(a, m->mirrors[next].inner);
	return true;
}

static void passage_ended(struct attempt *a, const GError *error)
{
	struct passage *p = (struct passage *)a;
	struct mirrors *m = p->mirrors;
	int64_t retry_ns = a->in.base.retry_ns, now = clock_now();
	bool elsewhere = mirror_error_elsewhere(error);
	mutex_lock(&m->lock);
	struct mirror_news news =
	        mirror_answered_locked(m, p->now, error, a->in.base.started_ns, retry_ns, p->last);
	if (elsewhere && p->kind != KIND_LIST)
		detour_note(&m->detours, a->request->path, p->now, now,
		            MAX(now + DETOUR_NS, retry_ns));
	mutex_unlock(&m->lock);
	mirror_tell(m, news, error);
	if (g_error_matches(error, FETCH_ERROR, FETCH_MISSING)) {
		p->lacking |= bit(p->now);
		if (p->maker == NONE)
			p->allowed = bits_below(m->count);
	}
	/* an unusable answer after the last byte: no mirror has anything left to send */
	if (!elsewhere || attempt_delivered(a)) {
		p->retry_ns = 0;
		passage_end(p, error != NULL ? g_error_copy(error) : NULL);
		return;
	}
	retry_note(p, retry_ns);
	p->errors[p->now] = g_error_copy(error);
	if (!passage_next(p))
		passage_fail(p);
}

static struct passage *passage_new(struct source *s, enum kind kind)
{
	struct passage *p = g_new0(struct passage, 1);
	p->mirrors = (struct mirrors *)s;
	p->kind = kind;
	p->allowed = bits_below(p->mirrors->count);
	p->attempt.ended = passage_ended;
	p->job.run = passage_fail_run;
	mutex_lock(&p->mirrors->lock);
	p->mirrors->busy++;
	mutex_unlock(&p->mirrors->lock);
	return p;
}

/* A request does not end within the call that submits it: see source.h. */
static void passage_begin(struct passage *p)
{
	struct mirrors *m = p->mirrors;
	mutex_lock(&m->lock);
	m->busy++; /* `p` may end meanwhile */
	mutex_unlock(&m->lock);
	if (!passage_next(p))
		pool_submit(m->pool, &p->job);
	mirror_test_due(m);
	mirrors_leave(m);
}

void passage_list(struct source *s, struct source_list *req)
{
	struct passage *p = passage_new(s, KIND_LIST);
	attempt_list(&p->attempt, req);
	if (req->previous != NULL) {
		p->maker = maker_of(p->mirrors, req->previous);
		mutex_lock(&p->mirrors->lock);
		p->allowed = listers_locked(p->mirrors, p->maker);
		mutex_unlock(&p->mirrors->lock);
		p->kept = true;
	}
	passage_begin(p);
}

void passage_stat(struct source *s, struct source_stat *req)
{
	struct passage *p = passage_new(s, KIND_STAT);
	attempt_stat(&p->attempt, req);
	passage_begin(p);
}

void passage_read(struct source *s, struct source_read *req)
{
	struct passage *p = passage_new(s, KIND_READ);
	attempt_read(&p->attempt, req);
	passage_begin(p);
}
