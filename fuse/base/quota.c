/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/base/quota.h"
#include <glib.h>

uint64_t quota_most(const struct quota *q, int64_t now_ns)
{
	int64_t since = now_ns - q->short_ns;
	if (q->short_ns == 0 || since >= QUOTA_BACK_NS)
		return q->normal;
	double back = (double)MAX(since, 0) / QUOTA_BACK_NS;
	return q->least + (uint64_t)((double)(q->normal - q->least) * back);
}

void quota_lessen(struct quota *q, uint64_t held, int64_t now_ns)
{
	if (q->short_ns && now_ns - q->short_ns < QUOTA_PAUSE_NS)
		return;
	q->least = MIN(quota_most(q, now_ns), held) * 7 / 8;
	q->short_ns = now_ns;
}
