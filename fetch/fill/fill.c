/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include "fetch/fill/fill_private.h"

/* One read-ahead gets at most half of the budget that is left, so that a second stream is
 * not starved by the first; below this it is not worth a request. */
#define AHEAD_LEAST (UINT64_C(256) << 10)
/* The least, however slow the line seems: a moment without a processor looks the same. */
#define LINE_LEAST (UINT64_C(1) << 20)
/* The least that a prefetch is charged, for its request and descriptors. */
#define PREFETCH_LEAST (UINT64_C(64) << 10)
/* Readahead requests no more than arrives in this time: on a slow line, a reader that seeks shares
 * the line with readahead it no longer needs. */
#define AHEAD_NS INT64_C(5000000000)

struct fill *fill_new(struct store *store, struct source *source, struct pool *disk,
                      struct alarm_clock *clock, const struct fill_options *options) UNSHARED
{
	struct fill *f = g_new0(struct fill, 1);

	f->store = store;
	f->source = source;
	f->disk = disk;
	f->clock = clock;
	f->options = *options;
	if (f->options.wait_ms == 0)
		f->options.wait_ms = 30000;
	if (f->options.prefetch_bytes == 0)
		f->options.prefetch_bytes = UINT64_C(64) << 20;
	mutex_init(&f->lock, RANK_FILL);
	condition_init(&f->changed);
	g_queue_init(&f->transfers);
	g_queue_init(&f->waiters);
	g_queue_init(&f->recent);
	f->packs = g_hash_table_new(g_str_hash, g_str_equal);
	f->evicting = g_hash_table_new(g_str_hash, g_str_equal);
	f->deadline.ring = waiters_expire;
	return f;
}

void fill_stop(struct fill *f)
{
	fill_lock(f);
	f->stopped = true;
	while (f->submitting > 0)
		condition_wait(&f->changed, &f->lock);
	fill_unlock(f);
	/* remaining waiters are answered when their transfers end */
	alarm_stop(f->clock, &f->deadline);
}

void fill_free(struct fill *f) UNSHARED
{
	if (f == NULL)
		return;
	fill_stop(f);
	packed_forget(f);
	g_assert(f->transfers.length == 0 && f->waiters.length == 0 && f->ahead == 0);
	g_hash_table_unref(f->packs);
	g_hash_table_unref(f->evicting);
	g_free(f->walk.path);
	condition_destroy(&f->changed);
	mutex_destroy(&f->lock);
	g_free(f);
}

static uint64_t budget_left_locked(const struct fill *f) REQUIRES(fill_locked)
{
	return f->options.prefetch_bytes - MIN(f->ahead, f->options.prefetch_bytes);
}

static uint64_t line_left_locked(const struct fill *f) REQUIRES(fill_locked)
{
	uint64_t line = MAX(rate_within(&f->rate, AHEAD_NS), LINE_LEAST);

	return line - MIN(f->ahead, line);
}

static int want(struct content *c, struct fill_wait *w, uint64_t ahead)
{
	struct fill *f = c->fill;
	struct plan plan = {.content = c, .cause = w->cause};
	uint64_t size = content_size(c), missing, end, budget;
	unsigned shift = content_shift(c);

	if (w->offset >= size || w->length == 0)
		return 0;
	end = w->offset + MIN(w->length, size - w->offset);
	ahead = MIN(ahead, size - end);
	if (ahead == 0 && content_present(c, w->offset, w->length))
		return 0;

	fill_lock(f);
	if (f->stopped) {
		fill_unlock(f);
		return content_present(c, w->offset, w->length) ? 0 : -EIO;
	}
	missing = plan_range_locked(&plan, w->offset >> shift, (end - 1) >> shift);
	budget = budget_left_locked(f);
	budget = MIN(budget, MAX(budget / 2, AHEAD_LEAST));
	if (ahead > 0)
		plan_ahead_locked(&plan, ((end - 1) >> shift) + 1, (end + ahead - 1) >> shift,
		                  MIN(budget, line_left_locked(f)));
	plan_finish_locked(&plan);
	if (missing > 0)
		waiter_add_locked(c, w, missing);
	fill_unlock(f);
	plan_submit(&plan);
	return missing > 0 ? -EINPROGRESS : 0;
}

int fill_want(struct content *c, struct fill_wait *w, uint64_t ahead)
{
	struct content *pack;

	if (packed_want(c, w, &pack, &ahead))
		c = pack;
	return want(c, w, ahead);
}

bool fill_cancel(struct fill *f, struct fill_wait *w)
{
	bool waits;

	fill_lock(f);
	waits = w->content != NULL;
	if (waits)
		waiter_remove_locked(w);
	fill_unlock(f);
	return waits;
}

/* Are any chunks missing, and do they fit into `budget`? */
static bool prefetch_fits_locked(struct content *c, uint64_t chunks, uint64_t budget)
        REQUIRES(fill_locked)
{
	uint64_t bytes = 0;
	bool any = false;

	for (uint64_t k = 0; k < chunks; k++) {
		enum chunk_state state = chunk_state_locked(c, k, NULL);

		any |= state == CHUNK_ABSENT || state == CHUNK_DOUBTFUL;
		if (state == CHUNK_ABSENT)
			bytes += UINT64_C(1) << content_shift(c);
		if (bytes > budget)
			return false;
	}
	return any && budget >= PREFETCH_LEAST &&
	       (bytes <= PREFETCH_LEAST || bytes <= line_left_locked(c->fill));
}

bool fill_prefetch(struct content *c)
{
	struct fill *f = c->fill;
	struct plan plan = {.content = c};
	uint64_t chunks = content_chunks(c), budget;
	bool fits;

	if (chunks == 0 || content_complete(c) || content_packed(c))
		return false;
	fill_lock(f);
	budget = budget_left_locked(f);
	fits = !f->stopped && prefetch_fits_locked(c, chunks, budget);
	if (fits) {
		plan_ahead_locked(&plan, 0, chunks - 1, budget);
		if (plan.made && plan.made->charge > 0 && plan.made->charge < PREFETCH_LEAST) {
			f->ahead += PREFETCH_LEAST - plan.made->charge;
			plan.made->charge = PREFETCH_LEAST;
		}
		plan_finish_locked(&plan);
	}
	fill_unlock(f);
	plan_submit(&plan);
	return fits;
}
