/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Names and small objects in the area.
 * Shape:   slabs of 64 KiB, each of blocks of one size: multiples of 16 bytes up to 512, then
 *          powers of two up to a slab. A slab without a block in use is free for any size
 * Memory:  the pages of free slabs go back to the kernel, but for a few
 * Killed:  free lists are not in the area. The next worker marks what is reachable, and sweeps: all
 *          else is free, also what was being allocated or freed
 * Locking: its own mutex; any thread
 * Errors:  none: without memory the process ends, as with malloc here; a caller with something that
 *          comes from outside asks arena_has_room() before, and takes at most ARENA_BLOCK_MAX
 */
#pragma once
#include "fuse/base/area.h"

#define ARENA_BLOCK_MAX ((size_t)1 << 16)

struct arena;

/* `a` (borrowed) is new, or arena_sweep() follows. */
struct arena *arena_new(struct area *a);
void arena_free(struct arena *a);
/* false: what is left is for changes of what is there. */
bool arena_has_room(struct arena *a, size_t size);
/* Zeroed, aligned to 16 bytes. */
void *arena_take(struct arena *a, size_t size);
char *arena_strdup(struct arena *a, const char *text);
void arena_give(struct arena *a, const void *block); /* NULL: nothing */
/* Is it a block of at least `size` bytes? */
bool arena_holds(const struct arena *a, const void *block, size_t size);
/* Before the sweep: the block is in use. false: it is none, of at least `size` bytes, or has two
 * users: a list in a damaged area ends. */
bool arena_mark(struct arena *a, const void *block, size_t size);
/* As arena_mark(), for text that ends in its block. */
bool arena_mark_text(struct arena *a, const char *text);
void arena_sweep(struct arena *a);
