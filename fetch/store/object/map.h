/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The presence map of a file: in memory, pure state.
 *
 *      doubtful ──▶ absent ◀──▶ present
 *          └───────────────────────┘
 *      local: written locally; present from then on
 *
 * Size:    a source may announce a file of 2^28 chunks: absent chunks cost no time and no touched
 *          memory
 * Locking: readers take none. A bit is set with release after its data was written, and read with
 *          acquire. Writers are on different chunks; the caller locks `locals`, and changes that
 *          make a chunk absent
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct map {
	uint64_t chunks;
	uint64_t present, doubtful; /* how many; atomic */
	uint64_t *bits;             /* one bit a chunk; atomic words; owned, or &word */
	uint64_t *doubts;           /* the same; NULL = none; owned, or &doubt */
	uint64_t *locals;           /* the same */
	uint64_t word, doubt, own;  /* of a file of up to 64 chunks */
	uint64_t own_from;          /* atomic: from this chunk on all are local */
};

/* All absent. A map stays where it is initialised. -ENOMEM. */
int map_init(struct map *m, uint64_t chunks);
void map_clear(struct map *m);

/* Before others see the map: */
void map_fill(struct map *m); /* all present */
int map_doubt(struct map *m, uint64_t chunk);

bool map_is_present(const struct map *m, uint64_t first, uint64_t last);
bool map_is_doubtful(const struct map *m, uint64_t chunk);
bool map_is_full(const struct map *m);

/* Full from here on, regardless of the bits. */
void map_set_full(struct map *m);
void map_set_present(struct map *m, uint64_t chunk);
/* For a doubtful chunk. */
void map_set_absent(struct map *m, uint64_t chunk);
/* For a present chunk, after map_spread(). */
void map_unset_present(struct map *m, uint64_t chunk);
/* Gives a map that is full the bits that map_fill() spared. -ENOMEM. */
int map_spread(struct map *m);
/* Before map_set_local(). -ENOMEM. */
int map_prepare_locals(struct map *m);
void map_set_local(struct map *m, uint64_t chunk);
bool map_is_local(const struct map *m, uint64_t chunk);
/* From `chunk` on all chunks are local, and present. The caller excludes other writers. */
void map_own_from(struct map *m, uint64_t chunk);
/* How many of [from, to) are present. */
uint64_t map_count_present(const struct map *m, uint64_t from, uint64_t to);
/* The first from `chunk` on that is present or doubtful; the number of chunks: none. */
uint64_t map_next(const struct map *m, uint64_t chunk);
