/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Which chunks a transfer holds. */
#include <string.h>
#include "fetch/fill/fill_private.h"

static bool bit_is_set(const uint8_t *bits, uint64_t n)
{
	return bits[n / 8] >> (n % 8) & 1;
}

static void bit_set(uint8_t *bits, uint64_t n)
{
	bits[n / 8] |= 1u << (n % 8);
}

bool transfer_holds_locked(const struct transfer *t, uint64_t chunk)
{
	if (chunk < t->first || chunk > t->last)
		return false;
	return t->held == NULL || bit_is_set(t->held, chunk);
}

bool transfer_holds_any_locked(const struct transfer *t, uint64_t first, uint64_t last)
{
	first = MAX(first, t->first);
	last = MIN(last, t->last);
	if (t->held == NULL)
		return first <= last;
	for (uint64_t k = first; k <= last; k++)
		if (bit_is_set(t->held, k))
			return true;
	return false;
}

static void transfer_scatter_locked(struct transfer *t) REQUIRES(fill_locked)
{
	if (t->held)
		return;
	t->held = g_malloc0(content_chunks(t->content) / 8 + 1);
	for (uint64_t k = t->first; k <= t->last; k++)
		bit_set(t->held, k);
}

static void transfer_uncharge_locked(struct transfer *t, uint64_t bytes) REQUIRES(fill_locked)
{
	bytes = MIN(bytes, t->charge);
	t->charge -= bytes;
	t->content->fill->ahead -= bytes;
}

void transfer_release_locked(struct transfer *t, uint64_t chunk)
{
	g_assert(transfer_holds_locked(t, chunk));
	if (chunk >= t->ahead_from)
		transfer_uncharge_locked(t, UINT64_C(1) << content_shift(t->content));
	if (t->held) {
		t->held[chunk / 8] &= ~(1u << (chunk % 8));
		while (t->first <= t->last && !bit_is_set(t->held, t->first))
			t->first++;
	} else {
		g_assert(chunk == t->first);
		t->first++;
	}
}

void transfer_release_all_locked(struct transfer *t)
{
	if (t->held)
		memset(t->held, 0, content_chunks(t->content) / 8 + 1);
	t->first = t->last + 1;
}

void transfer_drop_charge_locked(struct transfer *t)
{
	transfer_uncharge_locked(t, t->charge);
}

static void transfer_hold_locked(struct transfer *t, uint64_t chunk) REQUIRES(fill_locked)
{
	bit_set(t->held, chunk);
	if (t->first > t->last) {
		t->first = t->last = chunk;
		return;
	}
	t->first = MIN(t->first, chunk);
	t->last = MAX(t->last, chunk);
}

/* The chunks that a delivery contains completely; false: none. */
static bool delivery_chunks(struct content *c, uint64_t offset, uint64_t length, uint64_t *first,
                            uint64_t *last)
{
	uint64_t size = content_size(c), end;
	unsigned shift = content_shift(c);

	if (length == 0 || offset >= size)
		return false;
	end = offset + MIN(length, size - offset);
	*first = offset ? ((offset - 1) >> shift) + 1 : 0;
	*last = end == size ? (size - 1) >> shift : (end >> shift) - 1;
	/* unsigned: an end within chunk 0 wraps */
	return (end == size || end >> shift > 0) && *first <= *last;
}

void transfers_ask_anew_locked(struct content *c)
{
	for (GList *l = c->transfers; l; l = l->next)
		((struct transfer *)l->data)->anew_ns = ANEW_ALWAYS;
}

bool transfer_give_locked(struct transfer *t)
{
	struct content *c = t->content;
	uint64_t first, last;

	for (GList *l = c->transfers; l; l = l->next) {
		struct transfer *other = l->data;

		if (other == t || other->held == NULL || other->began_ns == 0 || other->ended ||
		    other->cursor > t->first ||
		    !delivery_chunks(c, other->offset, other->length, &first, &last) ||
		    t->first < first || t->last > last)
			continue;
		for (uint64_t k = t->first, end = t->last; k <= end; k++) {
			if (!transfer_holds_locked(t, k))
				continue;
			transfer_release_locked(t, k);
			transfer_hold_locked(other, k);
		}
		if (other->anew_ns == ANEW_ALWAYS)
			other->anew_ns = 0;
		return true;
	}
	return false;
}

/* Takes `chunk` for supplied data from a transfer without an answer, which may yet have to read the
 * source. */
static bool chunk_take_over_locked(struct transfer *holder, uint64_t chunk) REQUIRES(fill_locked)
{
	if (holder->kind != TRANSFER_FETCH || holder->began_ns != 0 || holder->ended)
		return false;
	transfer_scatter_locked(holder);
	transfer_release_locked(holder, chunk);
	return true;
}

void transfer_take_back_locked(struct transfer *t, uint64_t chunk)
{
	struct transfer *holder = NULL;
	enum chunk_state state = chunk_state_locked(t->content, chunk, &holder);

	if (state == CHUNK_ABSENT ||
	    (holder && holder != t && chunk_take_over_locked(holder, chunk)))
		transfer_hold_locked(t, chunk);
}

bool transfer_lent_locked(const struct transfer *t)
{
	for (GList *l = t->content->transfers; l; l = l->next) {
		const struct transfer *other = l->data;

		if (other != t && other->kind == TRANSFER_FETCH && other->began_ns == 0 &&
		    !other->ended && t->cursor <= other->last &&
		    transfer_holds_any_locked(other, t->cursor, other->last))
			return true;
	}
	return false;
}

void transfer_widen_locked(struct transfer *t, uint64_t offset, uint64_t length)
{
	struct content *c = t->content;
	struct transfer *holder;
	uint64_t first, last;

	transfer_scatter_locked(t);
	if (!delivery_chunks(c, offset, length, &first, &last))
		return;
	for (uint64_t k = first; k <= last; k++) {
		enum chunk_state state = chunk_state_locked(c, k, &holder);

		if (holder && holder != t && t->read.supplied && chunk_take_over_locked(holder, k))
			state = CHUNK_ABSENT;
		if (state == CHUNK_ABSENT || state == CHUNK_DOUBTFUL)
			transfer_hold_locked(t, k);
	}
}
