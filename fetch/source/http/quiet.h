/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Remembers Retry-After: per file after 503, for the whole server after 429, which limits the
 * client and not the file.
 * Shape:   a few places, found by hash; a new file replaces the one in its place, which is then
 *          requested too early: once, and then remembered again
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
/* When `path` may be requested again; in the past: now. */
int64_t quiet_until(const struct quiet *q, const char *path);
