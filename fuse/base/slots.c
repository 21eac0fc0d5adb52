/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/slots.h"
#include <glib.h>

#define WORD 64
#define WORDS (SLOTS_CHUNK / WORD) /* of a chunk */

struct slots {
	struct area *area; /* borrowed, as `used` */
	enum area_region region;
	size_t size;
	_Atomic uint32_t *used;
	uint32_t most;
	uint64_t *free;   /* a bit for each slot below *used */
	uint64_t *chunks; /* a bit for each chunk that has a free slot */
	uint32_t lowest;  /* no word of `chunks` below it has a bit */
	/* Chunks that had no slot in use; some may have one again, or be listed twice */
	uint32_t spare[SLOTS_SPARE];
	unsigned spares;
};

struct slots *slots_new(struct area *a, enum area_region region, size_t size,
                        _Atomic uint32_t *used)
{
	struct slots *s = g_new0(struct slots, 1);
	s->area = a;
	s->region = region;
	s->size = size;
	s->used = used;
	s->most = (uint32_t)MIN(area_region_size(a, region) / size, UINT32_MAX - SLOTS_CHUNK);
	s->free = g_new0(uint64_t, s->most / WORD + WORDS);
	s->chunks = g_new0(uint64_t, s->most / SLOTS_CHUNK / WORD + 1);
	return s;
}

void slots_free(struct slots *s)
{
	g_free(s->free);
	g_free(s->chunks);
	g_free(s);
}

static bool chunk_is_full(const struct slots *s, uint32_t chunk)
{
	uint64_t any = 0;
	for (unsigned n = 0; n < WORDS; n++)
		any |= s->free[chunk * WORDS + n];
	return any == 0;
}

/* No slot of it is in use. The last chunk may have fewer slots than others. */
static bool chunk_is_free(const struct slots *s, uint32_t chunk)
{
	uint32_t slots = 0, begin = chunk * SLOTS_CHUNK;
	for (unsigned n = 0; n < WORDS; n++)
		slots += (uint32_t)__builtin_popcountll(s->free[chunk * WORDS + n]);
	return begin < *s->used && slots == MIN(*s->used - begin, SLOTS_CHUNK);
}

bool slots_take(struct slots *s, uint32_t *index)
{
	uint32_t end = (*s->used + SLOTS_CHUNK - 1) / SLOTS_CHUNK;
	while (s->lowest * WORD < end && s->chunks[s->lowest] == 0)
		s->lowest++;
	if (s->lowest * WORD >= end) {
		if (*s->used >= s->most)
			return false;
		*index = (*s->used)++;
		return true;
	}
	uint32_t chunk = s->lowest * WORD + (uint32_t)__builtin_ctzll(s->chunks[s->lowest]);
	uint32_t word = chunk * WORDS;
	while (s->free[word] == 0)
		word++;
	*index = word * WORD + (uint32_t)__builtin_ctzll(s->free[word]);
	s->free[word] &= s->free[word] - 1;
	if (chunk_is_full(s, chunk))
		s->chunks[chunk / WORD] &= ~(UINT64_C(1) << chunk % WORD);
	return true;
}

/* Free chunks behind the last slot in use. */
static void end_lower(struct slots *s)
{
	while (*s->used > 0) {
		uint32_t last = (*s->used - 1) / SLOTS_CHUNK;
		if (!chunk_is_free(s, last))
			return;
		*s->used = last * SLOTS_CHUNK;
		for (unsigned n = 0; n < WORDS; n++)
			s->free[last * WORDS + n] = 0;
		s->chunks[last / WORD] &= ~(UINT64_C(1) << last % WORD);
	}
}

static void spares_give(struct slots *s)
{
	for (unsigned n = 0; n < s->spares; n++) {
		size_t bytes = s->size * SLOTS_CHUNK;
		if (chunk_is_free(s, s->spare[n]))
			area_give(s->area, s->region, s->spare[n] * bytes, bytes);
	}
	s->spares = 0;
}

void slots_give(struct slots *s, uint32_t index)
{
	uint32_t chunk = index / SLOTS_CHUNK;
	uint64_t bit = UINT64_C(1) << index % WORD;
	if (index >= *s->used || s->free[index / WORD] & bit)
		return;
	s->free[index / WORD] |= bit;
	s->chunks[chunk / WORD] |= UINT64_C(1) << chunk % WORD;
	s->lowest = MIN(s->lowest, chunk / WORD);
	if (!chunk_is_free(s, chunk))
		return;
	s->spare[s->spares++] = chunk;
	if (s->spares < SLOTS_SPARE)
		return;
	spares_give(s);
	end_lower(s);
}

uint32_t slots_next(const struct slots *s, uint32_t index)
{
	while (index < *s->used && chunk_is_free(s, index / SLOTS_CHUNK))
		index = (index / SLOTS_CHUNK + 1) * SLOTS_CHUNK;
	return MIN(index, *s->used);
}
