/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/arena.h"
#include <glib.h>
#include <string.h>
#include "fetch/base/lock.h"

#define SLAB_SHIFT 16
#define SLAB ARENA_BLOCK_MAX
#define KEPT_BACK 8 /* one slab of so many is for changes */
#define SPARE 16    /* slabs without a block in use that keep their pages */
#define GRAIN 16
#define SMALL 512                   /* up to here a class each 16 bytes */
#define CLASSES (SMALL / GRAIN + 7) /* and 1, 2 … 64 KiB */

struct block {
	struct block *next;
};

/* What the next worker makes again. */
struct slab {
	struct block *free;    /* blocks given back */
	uint32_t fresh;        /* bytes from the begin whose blocks were taken since it was empty */
	uint32_t used;         /* blocks in use */
	uint32_t next, before; /* of a list; 0: its end */
};

struct arena {
	struct area *area;
	char *slabs;
	_Atomic uint8_t *class_of; /* slab → class + 1, in the area; slab 0 is the table itself; 0:
	                            * no block is in use */
	size_t most;               /* slabs */
	struct mutex lock;
	struct slab *of;           /* by slab */
	uint32_t partial[CLASSES]; /* lists of slabs with a block that is not in use, and one that
	                              is */
	uint32_t empty, empties;   /* list of those of no class, and its length */
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
	a->of = g_new0(struct slab, a->most);
	mutex_init(&a->lock, RANK_ARENA);
	if (area->slabs == 0)
		area->slabs = (uint32_t)table_slabs(a);
	return a;
}

void arena_free(struct arena *a)
{
	mutex_destroy(&a->lock);
	g_free(a->of);
	g_free(a->marks);
	g_free(a);
}

static void list_add_locked(struct arena *a, uint32_t *list, uint32_t slab) REQUIRES(a->lock)
{
	struct slab *b = &a->of[slab];
	b->before = 0;
	b->next = *list;
	if (b->next)
		a->of[b->next].before = slab;
	*list = slab;
}

static void list_remove_locked(struct arena *a, uint32_t *list, uint32_t slab) REQUIRES(a->lock)
{
	const struct slab *b = &a->of[slab];
	if (b->next)
		a->of[b->next].before = b->before;
	if (b->before)
		a->of[b->before].next = b->next;
	else
		*list = b->next;
}

static bool is_full(const struct slab *b, unsigned c)
{
	return !b->free && b->fresh + class_size(c) > SLAB;
}

/* No block of it is in use, or will be found in use. */
static void slab_empty_locked(struct arena *a, uint32_t slab) REQUIRES(a->lock)
{
	a->class_of[slab] = 0;
	a->of[slab] = (struct slab){0};
	if (a->empties >= SPARE)
		area_give(a->area, AREA_ARENA, (size_t)slab << SLAB_SHIFT, SLAB);
	list_add_locked(a, &a->empty, slab);
	a->empties++;
}

static uint32_t slab_add_locked(struct arena *a, unsigned c) REQUIRES(a->lock)
{
	uint32_t slab = a->empty;
	if (slab) {
		list_remove_locked(a, &a->empty, slab);
		a->empties--;
	} else {
		slab = a->area->slabs;
		if (slab >= a->most)
			g_error("no room for names");
		a->area->slabs = slab + 1;
	}
	a->of[slab] = (struct slab){0};
	a->class_of[slab] = (uint8_t)(c + 1);
	list_add_locked(a, &a->partial[c], slab);
	return slab;
}

bool arena_has_room(struct arena *a, size_t size)
{
	if (size > SLAB)
		return false;
	mutex_lock(&a->lock);
	bool room = a->partial[class_for(size)] ||
	            a->area->slabs - a->empties < a->most - a->most / KEPT_BACK;
	mutex_unlock(&a->lock);
	return room;
}

static struct block *take_locked(struct arena *a, unsigned c) REQUIRES(a->lock)
{
	uint32_t slab = a->partial[c] ? a->partial[c] : slab_add_locked(a, c);
	struct slab *b = &a->of[slab];
	struct block *block = b->free;
	if (block) {
		b->free = block->next;
	} else {
		block = (void *)(a->slabs + ((size_t)slab << SLAB_SHIFT) + b->fresh);
		b->fresh += (uint32_t)class_size(c);
	}
	b->used++;
	if (is_full(b, c))
		list_remove_locked(a, &a->partial[c], slab);
	return block;
}

/* The only slab of a class with free blocks stays: a name that comes and goes costs no slab. */
static void give_locked(struct arena *a, void *block, unsigned c) REQUIRES(a->lock)
{
	uint32_t slab = (uint32_t)((size_t)((char *)block - a->slabs) >> SLAB_SHIFT);
	struct slab *b = &a->of[slab];
	struct block *given = block;
	if (is_full(b, c))
		list_add_locked(a, &a->partial[c], slab);
	given->next = b->free;
	b->free = given;
	b->used--;
	if (b->used > 0 || (a->partial[c] == slab && b->next == 0))
		return;
	list_remove_locked(a, &a->partial[c], slab);
	slab_empty_locked(a, slab);
}

void *arena_take(struct arena *a, size_t size)
{
	if (size > SLAB)
		g_error("no room for a name of %zu bytes", size);
	unsigned c = class_for(size);
	mutex_lock(&a->lock);
	struct block *b = take_locked(a, c);
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

static bool is_marked(const struct arena *a, const void *block)
{
	size_t grain = grain_of(a, block);
	return a->marks && a->marks[grain / 8] & 1 << grain % 8;
}

static void slab_sweep_locked(struct arena *a, uint32_t slab, unsigned c) REQUIRES(a->lock)
{
	char *begin = a->slabs + ((size_t)slab << SLAB_SHIFT);
	size_t size = class_size(c), end = SLAB / size * size;
	struct slab *b = &a->of[slab];
	*b = (struct slab){.fresh = (uint32_t)end};
	for (size_t at = 0; at < end; at += size)
		b->used += is_marked(a, begin + at);
	for (size_t at = end; at > 0 && b->used > 0; at -= size) {
		struct block *block = (void *)(begin + at - size);
		if (is_marked(a, block))
			continue;
		block->next = b->free;
		b->free = block;
	}
	if (b->used == 0)
		slab_empty_locked(a, slab);
	else if (!is_full(b, c))
		list_add_locked(a, &a->partial[c], slab);
}

void arena_sweep(struct arena *a)
{
	mutex_lock(&a->lock);
	for (uint32_t slab = a->area->slabs; slab-- > table_slabs(a);) {
		int c = a->class_of[slab] - 1;
		if (c < 0 || c >= CLASSES) /* empty, or the worker was killed as it began with it */
			slab_empty_locked(a, slab);
		else
			slab_sweep_locked(a, slab, (unsigned)c);
	}
	mutex_unlock(&a->lock);
	g_clear_pointer(&a->marks, g_free);
}
