/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The state of one mirror: pure, without a clock of its own.
 *
 *      healthy ──unreachable, timeout, the third refusal in a row──▶ failed
 *         ▲                                                            │ back-off has passed
 *         └──────── answered ◀── tested (one request at a time) ◀──────┘
 *                                        └──not answered──▶ failed, for twice as long
 *
 * Back-off: begins anew once the mirror has been healthy for longer than the last one, so a
 *           mirror that comes and goes is used ever more rarely
 * Late:     a failed request that began before the last change of state, or the last failure, does
 *           not change the state
 * Units:    ns, CLOCK_MONOTONIC
 * Locking:  its owner's
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define HEALTH_DOUBLINGS 3u /* the longest back-off is 2^n times the first */
#define HEALTH_REFUSALS 3u  /* in a row, that make a mirror fail */

struct health {
	bool failed, testing;
	unsigned refusals;  /* since the last answer that was none */
	int64_t changed_ns; /* beginning of the state; 0: it never changed */
	int64_t failed_ns;  /* when it last failed, or failed a test */
	int64_t backoff_ns; /* of the last failure */
	int64_t until_ns;   /* failed: not tested before */
};

/* Each: true where the state changed. `began_ns`: when the request began.
 * health_failed(): `first_ns`: the first back-off; `until_ns`: when the server wants to be asked
 * again, 0 = not told. */
bool health_failed(struct health *h, int64_t began_ns, int64_t now, int64_t first_ns,
                   int64_t until_ns);
/* An unusable answer: 5xx, 429, 401, 403, or malformed. */
bool health_refused(struct health *h, int64_t began_ns, int64_t now, int64_t first_ns,
                    int64_t until_ns);
/* `tested`: by the test, or by a request that no other mirror could serve. Other requests, begun
 * while the mirror was healthy, prove nothing for a failed one. */
bool health_answered(struct health *h, int64_t now, bool tested);
/* Should the mirror be tested now? true: the caller does, and tells the result. */
bool health_test(struct health *h, int64_t now);
