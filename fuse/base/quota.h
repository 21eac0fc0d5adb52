/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* How many there may be of something that others need, too. A shortage lessens it; from then on it
 * grows back, evenly, within QUOTA_BACK_NS.
 * Locking: the owner's
 * Units:   ns of CLOCK_MONOTONIC
 */
#pragma once
#include <stdint.h>

#define QUOTA_BACK_NS INT64_C(5000000000)
#define QUOTA_PAUSE_NS INT64_C(20000000)

struct quota {
	uint64_t normal;  /* without a shortage */
	uint64_t least;   /* as of the last one */
	int64_t short_ns; /* when that was; 0: never */
};

uint64_t quota_most(const struct quota *q, int64_t now_ns);
/* There are `held`, and it is short: an eighth of them goes. Whoever else says so within
 * QUOTA_PAUSE_NS tells of the same shortage. */
void quota_lessen(struct quota *q, uint64_t held, int64_t now_ns);
