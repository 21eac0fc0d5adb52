/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Which chunks of a file are here: in memory, pure state.
 *
 *      doubtful ──▶ absent ──▶ present
 *          └──────────────────────┘
 *
 * Locking: readers take none. Bits are set with release after what they stand for was
 *          written, and read with acquire. Writers are on different chunks
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct map {
	uint64_t chunks;
	uint64_t present, doubtful; /* how many; atomic */
	uint64_t *bits;             /* one bit a chunk; atomic words; owned, or &word */
	uint64_t *doubts;           /* the same; NULL = none; owned, or &doubt */
	uint64_t word, doubt;       /* of a file of up to 64 chunks */
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

/* Whatever the bits say from here on. */
void map_set_full(struct map *m);
void map_set_present(struct map *m, uint64_t chunk);
/* Of a doubtful one. */
void map_set_absent(struct map *m, uint64_t chunk);
