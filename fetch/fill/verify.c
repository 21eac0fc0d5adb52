/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Chunks of a dead epoch are compared with their hash, on the disk pool; runs of chunks that do not
 * match are handed over to transfers that fetch them. */
#include <errno.h>
#include "fetch/fill/fill_private.h"

/* The longest run: the first fetch must not wait for the whole verification. */
#define RUN_CHUNKS 64

static bool hand_over(struct transfer *v, uint64_t first, uint64_t last)
{
	struct content *c = v->content;
	struct fill *f = c->fill;
	struct plan plan = {.content = c};
	bool stopped;

	fill_lock(f);
	stopped = f->stopped;
	if (!stopped) {
		for (uint64_t k = first; k <= last; k++) {
			transfer_release_locked(v, k);
			plan_add_locked(&plan, k, TRANSFER_FETCH);
		}
		plan_finish_locked(&plan);
	}
	fill_unlock(f);
	plan_submit(&plan);
	return !stopped;
}

void verify_run(struct pool_job *job)
{
	struct transfer *v = (struct transfer *)((char *)job - offsetof(struct transfer, job));
	struct content *c = v->content;
	uint64_t stale = 0; /* as many chunks before `k` are absent, and still held */
	g_autoptr(GError) error = NULL;

	fill_lock(c->fill);
	uint64_t first = v->first, last = v->last; /* all: a verification is not split */
	fill_unlock(c->fill);
	for (uint64_t k = first; k <= last && !error; k++) {
		int err = store_file_verify(content_file(c), k);

		__atomic_add_fetch(&c->fill->chunks_verified, 1, __ATOMIC_RELAXED);
		if (err == -ESTALE)
			stale++;
		else if (err)
			g_set_error(&error, LOCAL_ERROR, -err, "%s: verifying cached data: %s",
			            c->path, g_strerror(-err));
		if (stale > 0 && (err != -ESTALE || k == last || stale == RUN_CHUNKS)) {
			uint64_t end = err == -ESTALE ? k : k - 1;

			if (!hand_over(v, end + 1 - stale, end) && !error)
				g_set_error(&error, FETCH_ERROR, FETCH_CANCELLED,
				            "%s: the mount is going away", c->path);
			stale = 0;
		}
		if (err == 0 && !error)
			transfer_arrived(v, k);
	}
	transfer_end(v, error);
}
