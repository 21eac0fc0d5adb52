/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The limit of a shared resource (descriptors). A shortage lowers it; it then grows back, evenly,
 * within QUOTA_BACK_NS.
 * Locking: the owner's
 * Units:   ns of CLOCK_MONOTONIC
 */
#pragma once
#include <stdint.h>

#define QUOTA_BACK_NS INT64_C(5000000000)
#define QUOTA_PAUSE_NS INT64_C(20000000)

struct quota {
	uint64_t normal;  /* without a shortage */
	uint64_t least;   /* after the last shortage */
	int64_t short_ns; /* time of the last shortage; 0: never */
};

uint64_t quota_most(const struct quota *q, int64_t now_ns);
/* A shortage while `held` are in use: lowers the limit to seven eighths of them. Further calls
 * within QUOTA_PAUSE_NS report the same shortage. */
void quota_lessen(struct quota *q, uint64_t held, int64_t now_ns);
