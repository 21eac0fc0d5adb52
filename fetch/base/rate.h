/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The rate of transfers, measured while any is under way: pure state, no clock, no lock.
 * Units: bytes a second; ns
 */
#pragma once
#include <stdint.h>

/* Zeroed = no rate known. */
struct rate {
	int64_t since_ns; /* start of the sample, 0 = no transfer under way */
	uint64_t bytes;   /* in it */
	uint64_t per_s;   /* of earlier samples, 0 = none yet */
};

/* The first transfer starts. */
void rate_start(struct rate *r, int64_t now_ns);
void rate_add(struct rate *r, uint64_t bytes, int64_t now_ns);
/* The last transfer ended. A sample too short to measure is dropped. */
void rate_stop(struct rate *r, int64_t now_ns);
/* Bytes that will arrive within that time; UINT64_MAX where no rate is known. */
uint64_t rate_within(const struct rate *r, int64_t ns);
