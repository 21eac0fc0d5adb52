/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What to fetch before it is asked for: pure policy, no I/O, no lock.
 * Units: bytes; entries of a listing
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* One open handle's pattern. Zeroed = nothing seen yet. */
struct readahead {
	uint64_t next;   /* where a sequential reader would go on */
	uint64_t window; /* 0 = random so far */
	uint64_t edge;   /* fetched ahead up to here */
};
/* For every read, in order: how many bytes after [offset, +length) are worth fetching, of
 * which most may be there or on their way; 0: none, or none beyond what was said before.
 * Grows from 256 KiB up to `max`, to about twice what was read in sequence; random access
 * brings it down to 0. */
uint64_t readahead_next(struct readahead *ra, uint64_t offset, uint64_t length, uint64_t max);

/* One directory's walkers. Zeroed = nothing seen yet. */
struct walkahead {
	uint32_t last;   /* index + 1 of the last sibling opened */
	uint32_t window; /* siblings */
	uint32_t edge;   /* fetched ahead up to this index */
};
/* Sibling `index` of `count` is read from its start, best told of those, too, that are here
 * thanks to this: the half-open range [*from, *to) of later siblings worth fetching. */
void walkahead_next(struct walkahead *w, uint32_t index, uint32_t count, uint32_t max,
                    uint32_t *from, uint32_t *to);
