/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/store/object/map.h"
#include <errno.h>
#include <glib.h>
#include <string.h>

static uint64_t word_count(uint64_t chunks)
{
	return (chunks + 63) / 64;
}

static uint64_t bit_of(uint64_t chunk)
{
	return UINT64_C(1) << (chunk % 64);
}

int map_init(struct map *m, uint64_t chunks)
{
	memset(m, 0, sizeof *m);
	m->chunks = m->own_from = chunks;
	m->bits = chunks <= 64 ? &m->word : g_try_new0(uint64_t, word_count(chunks));
	return m->bits ? 0 : -ENOMEM;
}

void map_clear(struct map *m)
{
	if (m->bits != &m->word)
		g_free(m->bits);
	if (m->doubts != &m->doubt)
		g_free(m->doubts);
	if (m->locals != &m->own)
		g_free(m->locals);
	memset(m, 0, sizeof *m);
}

/* A full `present` stands for every chunk: the bits are not needed. */
void map_fill(struct map *m)
{
	if (m->bits != &m->word)
		g_free(m->bits);
	m->bits = &m->word;
	m->present = m->chunks;
}

int map_doubt(struct map *m, uint64_t chunk)
{
	if (m->doubts == NULL)
		m->doubts =
		        m->chunks <= 64 ? &m->doubt : g_try_new0(uint64_t, word_count(m->chunks));
	if (m->doubts == NULL)
		return -ENOMEM;
	if (!(m->doubts[chunk / 64] & bit_of(chunk)))
		m->doubtful++;
	m->doubts[chunk / 64] |= bit_of(chunk);
	return 0;
}

void map_set_full(struct map *m)
{
	__atomic_store_n(&m->present, m->chunks, __ATOMIC_RELEASE);
}

bool map_is_full(const struct map *m)
{
	return __atomic_load_n(&m->present, __ATOMIC_ACQUIRE) == m->chunks;
}

bool map_is_present(const struct map *m, uint64_t first, uint64_t last)
{
	if (map_is_full(m))
		return true;
	if (first > last || last >= m->chunks)
		return false;
	uint64_t own_from = __atomic_load_n(&m->own_from, __ATOMIC_ACQUIRE);
	if (first >= own_from)
		return true;
	last = MIN(last, own_from - 1);
	for (uint64_t w = first / 64; w <= last / 64; w++) {
		uint64_t wanted = UINT64_MAX;

		if (w == first / 64)
			wanted &= UINT64_MAX << (first % 64);
		if (w == last / 64)
			wanted &= UINT64_MAX >> (63 - last % 64);
		if (wanted & ~__atomic_load_n(&m->bits[w], __ATOMIC_ACQUIRE))
			return false;
	}
	return true;
}

bool map_is_doubtful(const struct map *m, uint64_t chunk)
{
	if (m->doubts == NULL || chunk >= __atomic_load_n(&m->own_from, __ATOMIC_ACQUIRE))
		return false;
	return __atomic_load_n(&m->doubts[chunk / 64], __ATOMIC_ACQUIRE) & bit_of(chunk);
}

/* After the chunk is present, or its absence is on disk. */
static void doubt_settle(struct map *m, uint64_t chunk)
{
	uint64_t bit = bit_of(chunk);

	if (m->doubts && __atomic_fetch_and(&m->doubts[chunk / 64], ~bit, __ATOMIC_ACQ_REL) & bit)
		__atomic_sub_fetch(&m->doubtful, 1, __ATOMIC_ACQ_REL);
}

void map_set_present(struct map *m, uint64_t chunk)
{
	uint64_t bit = bit_of(chunk);

	if (map_is_full(m) || chunk >= m->own_from) /* perhaps filled: no bits */
		return;
	if (!(__atomic_fetch_or(&m->bits[chunk / 64], bit, __ATOMIC_ACQ_REL) & bit))
		__atomic_add_fetch(&m->present, 1, __ATOMIC_ACQ_REL);
	doubt_settle(m, chunk);
}

void map_set_absent(struct map *m, uint64_t chunk)
{
	doubt_settle(m, chunk);
}

void map_unset_present(struct map *m, uint64_t chunk)
{
	uint64_t bit = bit_of(chunk);

	/* the count first: while it is full, readers look at no bit */
	__atomic_sub_fetch(&m->present, 1, __ATOMIC_ACQ_REL);
	__atomic_fetch_and(&m->bits[chunk / 64], ~bit, __ATOMIC_ACQ_REL);
}

int map_spread(struct map *m)
{
	uint64_t *bits = &m->word;

	if (m->chunks > 64 && m->bits == &m->word)
		bits = g_try_new(uint64_t, word_count(m->chunks));
	else if (m->chunks > 64)
		bits = m->bits;
	if (bits == NULL)
		return -ENOMEM;
	memset(bits, 0xff, word_count(m->chunks) * sizeof *bits);
	__atomic_store_n(&m->bits, bits, __ATOMIC_RELEASE);
	return 0;
}

int map_prepare_locals(struct map *m)
{
	if (m->locals == NULL)
		m->locals = m->chunks <= 64 ? &m->own : g_try_new0(uint64_t, word_count(m->chunks));
	return m->locals ? 0 : -ENOMEM;
}

void map_set_local(struct map *m, uint64_t chunk)
{
	m->locals[chunk / 64] |= bit_of(chunk);
}

bool map_is_local(const struct map *m, uint64_t chunk)
{
	return chunk >= m->own_from || (m->locals && (m->locals[chunk / 64] & bit_of(chunk)) != 0);
}

/* The bits of word `w` that are in [from, to). */
static uint64_t word_mask(uint64_t w, uint64_t from, uint64_t to)
{
	uint64_t mask = UINT64_MAX;

	if (from > w * 64)
		mask &= UINT64_MAX << (from - w * 64);
	if (to < (w + 1) * 64)
		mask &= ~(UINT64_MAX << (to - w * 64));
	return mask;
}

static uint64_t count_bits(const uint64_t *bits, uint64_t from, uint64_t to)
{
	uint64_t count = 0;

	for (uint64_t w = from / 64; from < to && w <= (to - 1) / 64; w++)
		count += __builtin_popcountll(__atomic_load_n(&bits[w], __ATOMIC_ACQUIRE) &
		                              word_mask(w, from, to));
	return count;
}

uint64_t map_count_present(const struct map *m, uint64_t from, uint64_t to)
{
	uint64_t own_from = __atomic_load_n(&m->own_from, __ATOMIC_ACQUIRE), rest;

	to = MIN(to, m->chunks);
	from = MIN(from, to);
	if (map_is_full(m))
		return to - from;
	rest = MIN(to, MAX(own_from, from));
	return count_bits(m->bits, from, rest) + (to - rest);
}

void map_own_from(struct map *m, uint64_t chunk)
{
	uint64_t before = m->own_from, doubts = 0, gained;

	if (chunk >= before)
		return;
	gained = map_is_full(m) ? 0 : before - chunk - map_count_present(m, chunk, before);
	if (m->doubts)
		doubts = count_bits(m->doubts, chunk, before);
	__atomic_store_n(&m->own_from, chunk, __ATOMIC_RELEASE);
	__atomic_add_fetch(&m->present, gained, __ATOMIC_ACQ_REL);
	__atomic_sub_fetch(&m->doubtful, doubts, __ATOMIC_ACQ_REL);
}

uint64_t map_next(const struct map *m, uint64_t chunk)
{
	if (chunk >= m->own_from || map_is_full(m))
		return MIN(chunk, m->chunks);
	for (uint64_t w = chunk / 64; w <= (m->own_from - 1) / 64; w++) {
		uint64_t word = __atomic_load_n(&m->bits[w], __ATOMIC_ACQUIRE);

		if (m->doubts)
			word |= __atomic_load_n(&m->doubts[w], __ATOMIC_ACQUIRE);
		word &= word_mask(w, chunk, m->own_from);
		if (word)
			return w * 64 + (uint64_t)__builtin_ctzll(word);
	}
	return m->own_from;
}
