/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/readahead.h"
#include <glib.h>

#define WINDOW_MIN (UINT64_C(256) << 10)
/* The kernel sends the reads of one stream from several threads: a little out of order. */
#define REORDER (UINT64_C(1) << 20)
/* A first read this long wants more than a header */
#define EAGER (UINT64_C(64) << 10)
#define STEP (UINT64_C(64) << 10)
/* A gap of this length still counts as sequential; up to the maximum for reads as long as that */
#define SKIP (UINT64_C(64) << 10)
#define SKIP_MAX (UINT64_C(256) << 10)

static void readahead_reset(struct readahead *ra, uint64_t end)
{
	ra->window = ra->window / 4 >= WINDOW_MIN ? ra->window / 4 / STEP * STEP : 0;
	ra->next = ra->edge = end;
}

/* The next request is for a quarter of the window, so that in the steady state
 * three such requests are under way while the reader consumes the fourth. A quarter later
 * the window is half as large again: it stays at about twice the length read. */
uint64_t readahead_next(struct readahead *ra, uint64_t offset, uint64_t length, uint64_t max)
{
	uint64_t end = offset > UINT64_MAX - length ? UINT64_MAX : offset + length;
	uint64_t skip = ra->window ? REORDER : CLAMP(length, SKIP, SKIP_MAX);
	bool fresh = ra->next == 0 && ra->edge == 0;

	if (offset < ra->next && ra->next - offset <= REORDER) {
		ra->next = MAX(ra->next, end);
		return 0;
	}
	if (offset < ra->next || offset - ra->next > skip) {
		readahead_reset(ra, end);
		return 0;
	}
	ra->next = end;
	if (max < WINDOW_MIN || (fresh && length < EAGER)) {
		ra->edge = end;
		return 0;
	}
	if (ra->window > 0 && ra->edge > end && ra->edge - end > ra->window / 4 * 3)
		return 0;
	if (ra->window == 0)
		ra->window = WINDOW_MIN;
	else
		ra->window = MIN(ra->window + ra->window / 2, max) / STEP * STEP;
	ra->edge = end > UINT64_MAX - ra->window ? UINT64_MAX : end + ra->window;
	return ra->window;
}

#define SIBLINGS_MIN 4
/* Entries that a walk may skip: directories, links, files that it ignores */
#define PASSED_OVER 16

void walkahead_next(struct walkahead *w, uint32_t index, uint32_t count, uint32_t max,
                    uint32_t *from, uint32_t *to)
{
	bool on = w->last > 0 && index >= w->last && index - w->last <= w->window + PASSED_OVER;
	bool behind = w->last > 0 && index < w->last && w->last - index <= PASSED_OVER;

	*from = *to = MIN(index, UINT32_MAX - 1) + 1;
	if (behind || index >= count) /* a second walker, or a repeated access */
		return;
	w->last = index + 1;
	if (!on) {
		w->window /= 4;
		w->edge = index + 1;
		return;
	}
	/* in steps of half a window, so that many are under way at any time */
	if (w->edge > w->last && w->edge - w->last > w->window / 2)
		return;
	w->window = w->window < SIBLINGS_MIN ? SIBLINGS_MIN : MIN(w->window * 2, max);
	w->window = MIN(w->window, max);
	*from = MAX(w->edge, w->last);
	*to = MIN((uint64_t)w->last + w->window, count);
	*from = MIN(*from, *to);
	w->edge = MAX(w->edge, *to);
}
