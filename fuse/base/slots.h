/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Which slots of a table in the area (area.h) are free; the lowest is taken first, so that those in
 * use stay together.
 * Shape:   chunks of SLOTS_CHUNK slots; on the heap a bit for each slot, and one for each chunk
 *          that has a free slot. Slots from *used on were never taken
 * Memory:  the pages of chunks without a slot in use go back to the kernel, SLOTS_SPARE chunks at
 *          a time, and *used becomes less. They are zeros then, and cost a page when they are read
 * Killed:  zeros are a free slot. The next worker gives the slots that it finds free
 * Locking: its user's
 */
#pragma once
#include <stdatomic.h>
#include "fuse/base/area.h"

#define SLOTS_CHUNK 256 /* of any multiple of 16 bytes: whole pages of 4 KiB */
#define SLOTS_SPARE 64

struct slots;

/* `size`: bytes of a slot; `used`: borrowed, in the area. */
struct slots *slots_new(struct area *a, enum area_region region, size_t size,
                        _Atomic uint32_t *used);
void slots_free(struct slots *s);
/* false: all are in use. */
bool slots_take(struct slots *s, uint32_t *index);
/* A slot that is free already stays so. */
void slots_give(struct slots *s, uint32_t index);
/* The first slot from `index` on that is not in a chunk of free ones; *used: there is none. */
uint32_t slots_next(const struct slots *s, uint32_t index);
