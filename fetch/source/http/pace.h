/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* How many exchanges may be under way at once: fewer after a server has refused some of
 * several as too many (503, 429), one more every ten seconds without a refusal.
 *
 *      limit ──refused──▶ half of what was under way ──refused──▶ … ──▶ 1
 *        ▲                              │ 10 s
 *        └──────────── + 1 ◀────────────┘
 *
 * A halving counts once: what began before it was refused for the same reason.
 * Units:   ns, CLOCK_MONOTONIC
 * Locking: its owner's
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct pace {
	unsigned limit;   /* where nobody refuses; never 0 */
	unsigned allowed; /* 0 = as `limit` */
	int64_t shed_ns, grown_ns;
};

unsigned pace_allowed(const struct pace *p);
/* One that began at `begun_ns` and had `beside` under way with it (itself counted) was refused.
 * true: it was one of too many, and may be sent again at once. */
bool pace_refused(struct pace *p, unsigned beside, int64_t begun_ns, int64_t now);
/* One was answered. */
void pace_answered(struct pace *p, int64_t now);
