/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A source that asks another one again where the failure may pass.
 *
 *   attempt ──transient error──▶ back-off: 200 ms × 2^n × U(0.5, 1.5), after
 *      │                         the time that the server gave if it did ──▶ attempt
 *      │                                │ close
 *      └──success, other error,         └──▶ FETCH_CANCELLED
 *         attempts used up──▶ done
 *
 * Reads:   go on at the first byte not delivered yet, pinned to the version of the
 *          first attempt; begin() is called once; what a later attempt brings beyond
 *          what is missing (a server that ignores Range) is dropped
 * Owns:    the inner source
 * Locking: its set of back-offs under one mutex, never held across a call. attempt
 *          and retry_ns of a request are stored atomically: status reads them meanwhile
 */
#pragma once
#include "fetch/source/base/source.h"

/* Takes `inner`. `retries`: after the first attempt. `wait_ms`: an attempt that could only begin
 * later than this after the request did, or after its last byte came, is not made; 0 = any time.
 * Never fails. */
struct source *retry_new(struct source *inner, unsigned retries, unsigned wait_ms);
