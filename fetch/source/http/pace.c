/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/http/pace.h"
#include <glib.h>

#define GROW_NS INT64_C(10000000000)

unsigned pace_allowed(const struct pace *p)
{
	return p->allowed != 0 ? MIN(p->allowed, p->limit) : p->limit;
}

bool pace_refused(struct pace *p, unsigned beside, int64_t begun_ns, int64_t now)
{
	if (beside <= 1)
		return false;
	if (begun_ns >= p->shed_ns) {
		p->allowed = MAX(1, MIN(beside, pace_allowed(p)) / 2);
		p->shed_ns = p->grown_ns = now;
	}
	return true;
}

void pace_answered(struct pace *p, int64_t now)
{
	if (p->allowed == 0 || now - p->grown_ns < GROW_NS)
		return;
	p->grown_ns = now;
	if (++p->allowed >= p->limit)
		p->allowed = 0;
}
