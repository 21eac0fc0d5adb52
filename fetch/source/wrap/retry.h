/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A source that repeats requests to an inner source after transient errors.
 *
 *   attempt ──transient error──▶ back-off: 200 ms × 2^n × U(0.5, 1.5), after
 *      │                         the time that the server gave if it did ──▶ attempt
 *      │                                │ close
 *      └──success, other error,         └──▶ FETCH_CANCELLED
 *         attempts used up──▶ done
 *
 * Reads:   continue where the last attempt ended (attempt.h)
 * Owns:    the inner source
 * Locking: its set of back-offs under one mutex, never held across a call
 */
#pragma once
#include "fetch/source/base/source.h"

/* Takes `inner`. `retries`: after the first attempt. `wait_ms`: no attempt begins later than this
 * after the request began, or after its last byte arrived; 0 = no limit. Never fails. */
struct source *retry_new(struct source *inner, unsigned retries, unsigned wait_ms);
