/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/wrap/health.h"
#include <glib.h>

bool health_failed(struct health *h, int64_t began_ns, int64_t now, int64_t first_ns,
                   int64_t until_ns)
{
	bool changed = !h->failed;
	if (began_ns < h->changed_ns || began_ns < h->failed_ns)
		return false;
	if (changed && now - h->changed_ns > h->backoff_ns)
		h->backoff_ns = 0;
	h->backoff_ns = h->backoff_ns == 0 ? first_ns
	                                   : MIN(h->backoff_ns * 2, first_ns << HEALTH_DOUBLINGS);
	h->failed_ns = now;
	h->until_ns = MAX(now + h->backoff_ns, until_ns);
	h->failed = true;
	h->testing = false;
	h->refusals = 0;
	if (changed)
		h->changed_ns = now;
	return changed;
}

bool health_refused(struct health *h, int64_t began_ns, int64_t now, int64_t first_ns,
                    int64_t until_ns)
{
	if (!h->failed && ++h->refusals < HEALTH_REFUSALS)
		return false;
	return health_failed(h, began_ns, now, first_ns, until_ns);
}

bool health_answered(struct health *h, int64_t now, bool tested)
{
	if (!h->failed || tested)
		h->refusals = 0;
	if (!h->failed || !tested)
		return false;
	h->failed = h->testing = false;
	h->changed_ns = now;
	return true;
}

bool health_test(struct health *h, int64_t now)
{
	if (!h->failed || h->testing || now < h->until_ns)
		return false;
	return h->testing = true;
}
