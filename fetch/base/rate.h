/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* How fast bytes come while any are asked for: pure state, no clock, no lock.
 * Units: bytes a second; ns
 */
#pragma once
#include <stdint.h>

/* Zeroed = nothing known. */
struct rate {
	int64_t since_ns; /* start of the sample, 0 = nothing is under way */
	uint64_t bytes;   /* in it */
	uint64_t per_s;   /* of the samples before, 0 = none yet */
};

/* Something is asked for where nothing was. */
void rate_start(struct rate *r, int64_t now_ns);
void rate_add(struct rate *r, uint64_t bytes, int64_t now_ns);
/* Nothing is under way any more. A sample too short to tell is dropped. */
void rate_stop(struct rate *r, int64_t now_ns);
/* What comes within that time; UINT64_MAX where nothing is known. */
uint64_t rate_within(const struct rate *r, int64_t ns);
