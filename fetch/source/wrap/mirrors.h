/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A source made of several copies of one tree, in the order of preference.
 *
 *   request ──▶ first healthy mirror ──failure──▶ the next ──…──▶ failed ones, as a last resort
 *                     │ answer                                           │ no answer
 *                     ▼                                                  ▼
 *                   done                              the error of the first mirror asked
 *
 * Place:   below the wrapper of retries. A request goes to the next mirror at once; only if none
 *          serves it, it waits for a retry. Above it, each dead mirror would cost a reader its
 *          back-offs first
 * Health:  unreachable and timeout make a mirror fail, as three refusals in a row do (5xx,
 *          429, 401, 403, an unusable answer); 404 and another version concern the file alone
 *          (health.h, detour.h). Once its back-off has passed, a failed mirror is tested by a
 *          request of its own: no reader waits for it
 * Files:   a read that began at one mirror goes on at another only in the same version: size,
 *          Last-Modified and ETag are equal (without the ETag: no_etag). ETags of two servers
 *          are comparable only if both derive them from the file, as nginx does: where they
 *          differ, nothing is proven (but see fetch/fill/rebind.c). A file of which nothing is
 * cached is read from other mirrors than the first only if size and time are those of the listing:
 * an older version would otherwise be kept under the newer one's time. For that reason the first
 * one's must not be older, once others have made listings. A version without Last-Modified is that
 * of one server, whichever place it has among the mirrors Names:   a listing comes from one mirror,
 * whole; names of several are not merged. A listed directory that a mirror lacks is looked for at
 * the next. An existing listing is replaced only by that of its own mirror or an earlier one: while
 * that one has failed, the listing stays, for at most `takeover_ms`. So a tree does not change back
 * and forth with the health of a server. If the options have changed since, its mirror is unknown:
 * the first one is taken for it. A directory is gone if its mirror says so (unknown: if all do)
 * Errors:  of the kind of the first mirror's, as if it were alone, with the causes of all; retry_ns
 *          is the earliest that any server gave. FETCH_CANCELLED for a listing that stays
 * Probes:  where a mirror has no such file, no other is asked (source_read.probe)
 * Owns:    its mirrors
 * Locking: one mutex for health and detours, never held across a call
 */
#pragma once
#include "fetch/source/base/source.h"

#define MIRRORS_MAX 16u

struct mirrors;

struct mirrors_options {
	unsigned retry_ms;    /* the first back-off of a failed mirror, 10,000 */
	unsigned takeover_ms; /* 900,000; UINT_MAX: never */
};

/* Takes `inner`: `count` sources, from 2 to MIRRORS_MAX. Never fails. */
struct mirrors *mirrors_new(struct source *const *inner, unsigned count,
                            const struct mirrors_options *options);
/* The source, which frees it. */
struct source *mirrors_source(struct mirrors *m);

struct mirror_info {
	const char *url;   /* borrowed, as the next; without credentials */
	const char *cause; /* of the last failure; NULL: none yet */
	int64_t cause_ns;  /* CLOCK_REALTIME */
	bool failed, used; /* used: the next request begins here */
	int64_t since_ns;  /* beginning of the state, CLOCK_MONOTONIC; 0: it never changed */
	int64_t until_ns;  /* failed: not tested before */
	uint64_t requests, errors;
	const struct source *source; /* borrowed: see source_failures() */
};
/* For status: one call per mirror, in order, without a lock. */
void mirrors_foreach(struct mirrors *m, void (*fn)(const struct mirror_info *, void *), void *user);
