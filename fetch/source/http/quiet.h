/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* For how long a server asked not to be asked (Retry-After): of one file by 503, of anything
 * by 429, which speaks of who asks and not of what is asked for.
 * Shape:   a few places, found by hash; who comes to one that is taken replaces what is there,
 *          and the file that was there is asked for too early: once, and then remembered again
 * Units:   ns, CLOCK_MONOTONIC
 * Locking: its owner's
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define QUIET_PLACES 64u

struct quiet {
	int64_t all_ns;
	struct {
		uint64_t key;
		int64_t until_ns;
	} places[QUIET_PLACES];
};

void quiet_note(struct quiet *q, const char *path, bool all, int64_t until_ns);
/* When `path` may be asked for again; in the past: now. */
int64_t quiet_until(const struct quiet *q, const char *path);
