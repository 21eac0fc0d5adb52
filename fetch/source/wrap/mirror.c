/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/wrap/mirrors_private.h"

#define MS_NS INT64_C(1000000)
#define TOLD_NS INT64_C(60000000000) /* at most one detour line per mirror and minute */

/* A request that finds out whether a failed mirror answers again. */
struct test {
	struct source_stat stat; /* first */
	struct mirrors *mirrors;
	unsigned index;
};

static bool error_is(const GError *error, enum fetch_error code)
{
	return g_error_matches(error, FETCH_ERROR, (gint)code);
}

static bool is_down(const GError *error)
{
	return error_is(error, FETCH_UNREACHABLE) || error_is(error, FETCH_TIMEOUT);
}

static bool is_refusal(const GError *error)
{
	return error_is(error, FETCH_SERVER) || error_is(error, FETCH_DENIED) ||
	       error_is(error, FETCH_PROTOCOL);
}

bool mirror_error_elsewhere(const GError *error)
{
	return is_down(error) || is_refusal(error) || error_is(error, FETCH_MISSING) ||
	       error_is(error, FETCH_CHANGED);
}

unsigned mirror_first_locked(const struct mirrors *m)
{
	unsigned i = 0;
	while (i < m->count && m->mirrors[i].health.failed)
		i++;
	return i;
}

struct mirror_news mirror_answered_locked(struct mirrors *m, unsigned index, const GError *error,
                                          int64_t began_ns, int64_t retry_ns, bool tested)
{
	struct mirror *one = &m->mirrors[index];
	struct mirror_news news = {.index = index};
	int64_t now = clock_now(), first_ns = m->options.retry_ms * MS_NS;
	int64_t since_ns = one->health.changed_ns;
	int64_t until_ns = error_is(error, FETCH_SERVER) && retry_ns > now ? retry_ns : 0;
	/* a failure on this side says nothing of the mirror */
	if (error_is(error, FETCH_CANCELLED) || error_is(error, FETCH_USAGE) ||
	    (error != NULL && error->domain == LOCAL_ERROR))
		return news;
	if (mirror_error_elsewhere(error)) {
		one->errors++;
		one->code = (enum fetch_error)error->code;
		g_free(one->cause);
		one->cause = g_strdup(error->message);
		one->cause_ns = clock_realtime();
	}
	if (until_ns != 0)
		one->limited_ns = until_ns;
	bool failed = false, back = false;
	if (is_down(error))
		failed = health_failed(&one->health, began_ns, now, first_ns, until_ns);
	else if (is_refusal(error))
		failed = health_refused(&one->health, began_ns, now, first_ns, until_ns);
	else
		back = health_answered(&one->health, now, tested);
	if (failed || back) {
		news.change = failed ? MIRROR_FAILED : MIRROR_BACK;
		news.was_ns = now - since_ns;
	} else if (mirror_error_elsewhere(error) && !one->health.failed &&
	           (one->told_ns == 0 || now - one->told_ns > TOLD_NS)) {
		news.change = MIRROR_DETOUR;
		one->told_ns = now;
	}
	return news;
}

void mirror_tell(struct mirrors *m, struct mirror_news news, const GError *error)
{
	const char *name = m->mirrors[news.index].name;
	unsigned number = news.index + 1;
	if (news.change == MIRROR_BACK)
		g_message("mirror %u (%s) answers again after %.1f s", number, name,
		          (double)news.was_ns / 1e9);
	if (news.change == MIRROR_DETOUR)
		g_message("mirror %u (%s) did not serve a request, others are asked: %s", number,
		          name, error->message);
	if (news.change != MIRROR_FAILED)
		return;
	mutex_lock(&m->lock);
	unsigned next = mirror_first_locked(m);
	mutex_unlock(&m->lock);
	if (next < m->count)
		g_warning("mirror %u (%s) failed, mirror %u (%s) is used: %s", number, name,
		          next + 1, m->mirrors[next].name, error->message);
	else
		g_warning("mirror %u (%s) failed, no other is left: %s", number, name,
		          error->message);
}

static void test_done(struct source_request *r, const GError *error)
{
	struct test *t = (struct test *)r;
	struct mirrors *m = t->mirrors;
	mutex_lock(&m->lock);
	struct mirror_news news =
	        mirror_answered_locked(m, t->index, error, r->started_ns, r->retry_ns, true);
	m->mirrors[t->index].health.testing = false;
	mutex_unlock(&m->lock);
	mirror_tell(m, news, error);
	g_free(t);
	mirrors_leave(m);
}

void mirror_test_due(struct mirrors *m)
{
	int64_t now = clock_now();
	for (unsigned i = 0; i < m->count; i++) {
		mutex_lock(&m->lock);
		bool due = !m->stopped && health_test(&m->mirrors[i].health, now);
		m->busy += due;
		m->mirrors[i].requests += due;
		mutex_unlock(&m->lock);
		if (!due)
			continue;
		struct test *t = g_new0(struct test, 1);
		t->mirrors = m;
		t->index = i;
		t->stat.base.path = (char *)"";
		t->stat.base.done = test_done;
		source_stat(m->mirrors[i].inner, &t->stat);
	}
}
