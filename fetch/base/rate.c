/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/rate.h"
#include <glib.h>

#define SAMPLE_NS INT64_C(1000000000)
/* A shorter sample would measure a round trip. */
#define SAMPLE_LEAST_NS INT64_C(250000000)

static void rate_sample(struct rate *r, int64_t now_ns)
{
	uint64_t sample = (uint64_t)(r->bytes * 1e9 / (now_ns - r->since_ns));

	r->per_s = r->per_s ? (r->per_s + sample) / 2 : sample;
	r->per_s = MAX(r->per_s, 1);
	r->since_ns = now_ns;
	r->bytes = 0;
}

void rate_start(struct rate *r, int64_t now_ns)
{
	r->since_ns = now_ns;
	r->bytes = 0;
}

void rate_add(struct rate *r, uint64_t bytes, int64_t now_ns)
{
	r->bytes += bytes;
	if (now_ns - r->since_ns >= SAMPLE_NS)
		rate_sample(r, now_ns);
}

void rate_stop(struct rate *r, int64_t now_ns)
{
	if (now_ns - r->since_ns >= SAMPLE_LEAST_NS)
		rate_sample(r, now_ns);
	r->since_ns = 0;
}

uint64_t rate_within(const struct rate *r, int64_t ns)
{
	double bytes = (double)r->per_s * ns / 1e9;

	return r->per_s == 0 || bytes >= 1e18 ? UINT64_MAX : (uint64_t)bytes;
}
