/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One round of evictions: victims, least recently used first, until enough is freed.
 * Locking: one thread. Blocks on disk and network
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct round;
struct server;

struct round_result {
	uint64_t files, bytes;
	/* Files that were kept: */
	unsigned in_use, pinned, sealed, unconfirmed;
	unsigned asked, failed; /* files; of these, the source could not be asked about */
	bool unreachable;       /* the source; the round ended early */
};

/* `wanted`: false: the mount ends, and so does the round. */
struct round *round_new(struct server *s, bool (*wanted)(void *user), void *user);
void round_free(struct round *r);
/* Walks the store, for its counts and for victims, unless it did `least_ns` ago, or its last walk
 * took more than a fiftieth of the time since. true: the counts are new. */
bool round_measure(struct round *r, int64_t least_ns);
struct round_result round_run(struct round *r, uint64_t goal);
