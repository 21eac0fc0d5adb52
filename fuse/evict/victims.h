/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The files that are evicted next, least recently used first.
 * Shape:   one walk of the store finds the VICTIMS_MAX files that were used longest ago; the next
 *          walk is made when these are gone. Files used or fetched since the walk are later ones,
 *          so the order holds however old the walk is
 * Memory:  ≤ 2 × VICTIMS_MAX paths, during a walk
 * Locking: one thread
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define VICTIMS_MAX 65536

struct server;
struct victims;

struct victim {
	char *path; /* owned; in the mount */
	uint64_t number, bytes;
	int64_t used_ns;    /* CLOCK_REALTIME */
	int64_t changed_ns; /* its ctime when the store was walked */
};

struct victims *victims_new(struct server *s);
void victims_free(struct victims *v);
/* Walks the store. `wanted`: as measure.h. Blocks. -errno: the victims are as before. */
int victims_find(struct victims *v, bool (*wanted)(void *user), void *user);
/* false: none is left. The caller owns the path. */
bool victims_next(struct victims *v, struct victim *out);
/* Skips the file until `until_ns` (CLOCK_MONOTONIC), unless it has changed since `changed_ns`: then
 * it may be another file, with the number of one that was removed. */
void victims_spare(struct victims *v, uint64_t number, int64_t changed_ns, int64_t until_ns);
