/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The number of exchanges that may be under way at once: fewer after a server has refused some
 * as too many (503, 429), one more every ten seconds without a refusal.
 *
 *      limit ──refused──▶ half of what was under way ──refused──▶ … ──▶ 1
 *        ▲                              │ 10 s
 *        └──────────── + 1 ◀────────────┘
 *
 * Refusals of exchanges that began before a halving cause no further one: they have the same cause.
 * Units:   ns, CLOCK_MONOTONIC
 * Locking: its owner's
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct pace {
	unsigned limit;   /* without refusals; never 0 */
	unsigned allowed; /* 0 = as `limit` */
	int64_t shed_ns, grown_ns;
};

unsigned pace_allowed(const struct pace *p);
/* An exchange that began at `begun_ns`, with `beside` under way (itself counted), was refused.
 * true: there were too many, and it may be sent again at once. */
bool pace_refused(struct pace *p, unsigned beside, int64_t begun_ns, int64_t now);
/* An exchange was answered. */
void pace_answered(struct pace *p, int64_t now);
