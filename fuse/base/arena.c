/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/arena.h"
#include <glib.h>
#include <string.h>
#include "fetch/base/lock.h"

#define SLAB_SHIFT 16
#define SLAB ARENA_BLOCK_MAX
#define KEPT_BACK 8 /* one slab of so many is for changes */
#define GRAIN 16
#define SMALL 512                   /* up to here a class each 16 bytes */
#define CLASSES (SMALL / GRAIN + 7) /* and 1, 2 … 64 KiB */

struct block {
	struct block *next;
};

struct arena {
	struct area *area;
	char *slabs;
	_Atomic uint8_t *class_of; /* slab → class + 1, in the area; slab 0 is the table itself */
	size_t most;               /* slabs */
	struct mutex lock;
	struct block *free[CLASSES];
	uint8_t *marks; /* a bit for each grain; NULL: not between arena_new() and the sweep */
};

static unsigned class_for(size_t size)
{
	unsigned c = SMALL / GRAIN;
	if (size <= SMALL)
		return size == 0 ? 0 : (unsigned)((size - 1) / GRAIN);
	for (size_t most = 2 * SMALL; most < size; most *= 2)
		c++;
	return c;
}

static size_t class_size(unsigned c)
{
	return c < SMALL / GRAIN ? (c + 1) * (size_t)GRAIN
	                         : (size_t)(2 * SMALL) << (c - SMALL / GRAIN);
}

/* The table of classes fills the first slabs. */
static size_t table_slabs(const struct arena *a)
{
	return (a->most + SLAB - 1) >> SLAB_SHIFT;
}

struct arena *arena_new(struct area *area)
{
	struct arena *a = g_new0(struct arena, 1);
	a->area = area;
	a->slabs = area_region(area, AREA_ARENA);
	a->class_of = (void *)a->slabs;
	a->most = area_region_size(area, AREA_ARENA) >> SLAB_SHIFT;
	mutex_init(&a->lock, RANK_ARENA);
	if (area->slabs == 0)
		area->slabs = (uint32_t)table_slabs(a);
	return a;
}

void arena_free(struct arena *a)
{
	mutex_destroy(&a->lock);
	g_free(a->marks);
	g_free(a);
}

static void give_locked(struct arena *a, void *block, unsigned c)
{
	struct block *b = block;
	b->next = a->free[c];
	a->free[c] = b;
}

static void slab_add_locked(struct arena *a, unsigned c)
{
	uint32_t slab = a->area->slabs;
	size_t size = class_size(c);
	if (slab >= a->most)
		g_error("no room for names");
	a->class_of[slab] = (uint8_t)(c + 1);
	a->area->slabs = slab + 1;
	char *begin = a->slabs + ((size_t)slab << SLAB_SHIFT);
	for (size_t at = SLAB / size * size; at > 0; at -= size)
		give_locked(a, begin + at - size, c);
}

bool arena_has_room(struct arena *a, size_t size)
{
	if (size > SLAB)
		return false;
	mutex_lock(&a->lock);
	bool room = a->free[class_for(size)] || a->area->slabs < a->most - a->most / KEPT_BACK;
	mutex_unlock(&a->lock);
	return room;
}

void *arena_take(struct arena *a, size_t size)
{
	if (size > SLAB)
		g_error("no room for a name of %zu bytes", size);
	unsigned c = class_for(size);
	mutex_lock(&a->lock);
	if (!a->free[c])
		slab_add_locked(a, c);
	struct block *b = a->free[c];
	a->free[c] = b->next;
	mutex_unlock(&a->lock);
	return memset(b, 0, class_size(c));
}

char *arena_strdup(struct arena *a, const char *text)
{
	size_t size = strlen(text) + 1;
	return memcpy(arena_take(a, size), text, size);
}

/* Its class, and *begin; -1: no block lies there. */
static int class_at(const struct arena *a, const void *block)
{
	size_t at = (size_t)((const char *)block - a->slabs);
	if ((const char *)block < a->slabs || at >> SLAB_SHIFT >= a->area->slabs ||
	    at >> SLAB_SHIFT < table_slabs(a))
		return -1;
	int c = a->class_of[at >> SLAB_SHIFT] - 1;
	if (c < 0 || c >= CLASSES)
		return -1;
	size_t size = class_size((unsigned)c), within = at & (SLAB - 1);
	return within % size == 0 && within + size <= SLAB ? c : -1;
}

void arena_give(struct arena *a, const void *block)
{
	if (!block)
		return;
	int c = class_at(a, block);
	g_assert(c >= 0);
	mutex_lock(&a->lock);
	give_locked(a, (void *)block, (unsigned)c);
	mutex_unlock(&a->lock);
}

static size_t grain_of(const struct arena *a, const void *block)
{
	return (size_t)((const char *)block - a->slabs) / GRAIN;
}

bool arena_holds(const struct arena *a, const void *block, size_t size)
{
	int c = class_at(a, block);
	return c >= 0 && class_size((unsigned)c) >= size;
}

bool arena_mark(struct arena *a, const void *block, size_t size)
{
	if (!arena_holds(a, block, size))
		return false;
	if (!a->marks)
		a->marks = g_malloc0(((size_t)a->area->slabs << SLAB_SHIFT) / GRAIN / 8 + 1);
	size_t grain = grain_of(a, block);
	uint8_t bit = (uint8_t)(1 << grain % 8);
	bool first = !(a->marks[grain / 8] & bit);
	a->marks[grain / 8] |= bit;
	return first;
}

bool arena_mark_text(struct arena *a, const char *text)
{
	int c = class_at(a, text);
	return c >= 0 && memchr(text, '\0', class_size((unsigned)c)) && arena_mark(a, text, 1);
}

void arena_sweep(struct arena *a)
{
	mutex_lock(&a->lock);
	for (uint32_t slab = a->area->slabs; slab-- > table_slabs(a);) {
		char *begin = a->slabs + ((size_t)slab << SLAB_SHIFT);
		int c = a->class_of[slab] - 1;
		if (c < 0 || c >= CLASSES) /* the worker was killed as it began with it */
			continue;
		size_t size = class_size((unsigned)c);
		for (size_t at = SLAB / size * size; at > 0; at -= size) {
			size_t grain = grain_of(a, begin + at - size);
			if (!a->marks || !(a->marks[grain / 8] & 1 << grain % 8))
				give_locked(a, begin + at - size, (unsigned)c);
		}
	}
	mutex_unlock(&a->lock);
	g_clear_pointer(&a->marks, g_free);
}

uint64_t arena_bytes(struct arena *a)
{
	return (uint64_t)a->area->slabs << SLAB_SHIFT;
}
