/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/events/refusals.h"
#include "fetch/base/pool.h"

void refusals_note(struct refusals *all, struct refusal r, int64_t good_ns)
{
	if (r.tid <= 0)
		return; /* of another pid namespace: its threads cannot be told apart */
	r.until_ns = clock_now() + good_ns;
	all->list[all->next++ % REFUSALS] = r;
}

bool refusals_take(struct refusals *all, uint64_t ino, pid_t tid, uint64_t offset,
                   struct refusal *out)
{
	for (unsigned n = 0; n < REFUSALS; n++) {
		struct refusal *r = &all->list[n];
		if (r->left == 0 || r->tid != tid || r->ino != ino || offset < r->offset ||
		    offset >= r->end)
			continue;
		r->left--;
		*out = *r;
		return r->until_ns >= clock_now();
	}
	return false;
}
