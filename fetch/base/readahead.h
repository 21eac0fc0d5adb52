/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Readahead of files and of siblings: pure policy, no I/O, no lock.
 * Units: bytes; entries of a listing
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* The read pattern of one open handle. Zeroed = no read yet. */
struct readahead {
	uint64_t next;   /* where a sequential reader would continue */
	uint64_t window; /* 0 = random so far */
	uint64_t edge;   /* fetched ahead up to here */
};
/* For every read, in order: the number of bytes after [offset, +length) worth fetching, most of
 * which may be present or under way; 0: none, or none beyond the previous result.
 * Grows from 256 KiB up to `max`, to about twice the length read in sequence; random access
 * reduces it to 0. */
uint64_t readahead_next(struct readahead *ra, uint64_t offset, uint64_t length, uint64_t max);

/* The processes that walk one directory. Zeroed = no access yet. */
struct walkahead {
	uint32_t last;   /* index + 1 of the last sibling opened */
	uint32_t window; /* siblings */
	uint32_t edge;   /* fetched ahead up to this index */
};
/* Call it when sibling `index` of `count` is read from its start, also for siblings that are
 * present due to an earlier call: [*from, *to) are the later siblings worth fetching. */
void walkahead_next(struct walkahead *w, uint32_t index, uint32_t count, uint32_t max,
                    uint32_t *from, uint32_t *to);
