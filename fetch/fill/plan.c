/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/fill/fill_private.h"

/* A reader that seeks far ahead of a transfer's position would wait for all data before: it gets a
 * transfer of its own, if that saves this much. */
#define SPLIT_BYTES (UINT64_C(4) << 20)
#define SPLIT_NS INT64_C(500000000)
/* Requests that one readahead may make around present chunks */
#define AHEAD_REQUESTS 8

static struct transfer *chunk_holder_locked(struct content *c, uint64_t chunk) REQUIRES(fill_locked)
{
	for (GList *l = c->transfers; l; l = l->next)
		if (transfer_holds_locked(l->data, chunk))
			return l->data;
	return NULL;
}

enum chunk_state chunk_state_locked(struct content *c, uint64_t chunk, struct transfer **holder)
{
	struct store_file *file = c->file;
	struct transfer *t = chunk_holder_locked(c, chunk);

	if (holder)
		*holder = t;
	if (t)
		return CHUNK_HELD;
	if (file && store_file_present(file, chunk, chunk))
		return CHUNK_PRESENT;
	return file && store_file_doubtful(file, chunk) ? CHUNK_DOUBTFUL : CHUNK_ABSENT;
}

static void plan_append(struct plan *p, struct transfer *t)
{
	if (p->open)
		p->open->next = t;
	else
		p->made = t;
	p->open = t;
	p->count++;
}

struct transfer *plan_add_locked(struct plan *p, uint64_t chunk, enum transfer_kind kind)
{
	struct transfer *t = p->open;

	if (t && t->kind == kind && t->last + 1 == chunk)
		t->last = chunk;
	else
		plan_append(p, transfer_new_locked(p->content, kind, chunk));
	return p->open;
}

static bool split_pays_locked(const struct transfer *t, uint64_t chunk, int64_t now)
        REQUIRES(fill_locked)
{
	uint64_t distance, arrived = __atomic_load_n(&t->arrived, __ATOMIC_RELAXED);

	if (__atomic_load_n(&t->read.handler_pending, __ATOMIC_RELAXED))
		return false; /* handlers were asked about the whole range */
	if (t->kind != TRANSFER_FETCH || t->held || t->ended || chunk < t->cursor)
		return false;
	distance = (chunk - t->first) << content_shift(t->content);
	if (distance < SPLIT_BYTES)
		return false;
	if (t->began_ns == 0 || arrived == 0)
		return true;
	return (double)distance / arrived * (now - t->began_ns) > SPLIT_NS;
}

/* Moves the chunks from `chunk` on to a new transfer; the old one ends there. */
static void plan_split_locked(struct plan *p, struct transfer *t, uint64_t chunk)
        REQUIRES(fill_locked)
{
	struct transfer *rest = transfer_new_locked(p->content, TRANSFER_FETCH, chunk);
	uint64_t bytes = (t->last + 1 - MAX(chunk, MIN(t->ahead_from, t->last + 1)))
	                 << content_shift(p->content);

	rest->last = t->last;
	t->last = chunk - 1;
	rest->ahead_from = t->ahead_from;
	rest->charge = MIN(bytes, t->charge);
	t->charge -= rest->charge;
	plan_append(p, rest);
}

/* Would a reader of `chunk` wait in vain for a server that ignored Range, and sends the whole file
 * too slowly? Perhaps it, or another mirror, knows ranges now. One request in `wait_ms` tries that,
 * until one succeeds; if it does not, the chunks go back to `t` (transfer_give_locked). */
static bool anew_pays_locked(const struct transfer *t, uint64_t chunk, int64_t now)
        REQUIRES(fill_locked)
{
	struct content *c = t->content;
	uint64_t arrived = __atomic_load_n(&t->arrived, __ATOMIC_RELAXED);
	int64_t wait_ns = (int64_t)c->fill->options.wait_ms * 1000000;

	if (t->kind != TRANSFER_FETCH || t->held == NULL || t->ended || chunk < t->cursor ||
	    t->read.supplied || arrived == 0 || now < t->anew_ns)
		return false;
	return (double)((chunk + 1 - t->cursor) << content_shift(c)) / arrived *
	               (now - t->began_ns) >
	       wait_ns;
}

/* Is `chunk`, which `t` holds, to be requested once more? `t` is `*left` if it left others. */
static bool plan_anew_locked(struct plan *p, struct transfer *t, struct transfer **left,
                             uint64_t chunk, int64_t now) REQUIRES(fill_locked)
{
	if (t != *left && !anew_pays_locked(t, chunk, now))
		return false;
	if (t->anew_ns != ANEW_ALWAYS)
		t->anew_ns = now + (int64_t)p->content->fill->options.wait_ms * 1000000;
	*left = t;
	transfer_release_locked(t, chunk);
	plan_add_locked(p, chunk, TRANSFER_FETCH);
	return true;
}

uint64_t plan_range_locked(struct plan *p, uint64_t first, uint64_t last)
{
	struct transfer *holder, *before = NULL, *left = NULL;
	int64_t now = clock_now();
	uint64_t missing = 0;

	for (uint64_t k = first; k <= last; k++) {
		enum chunk_state state = chunk_state_locked(p->content, k, &holder);

		if (state == CHUNK_PRESENT)
			continue;
		missing++;
		if (state == CHUNK_ABSENT)
			plan_add_locked(p, k, TRANSFER_FETCH);
		else if (state == CHUNK_DOUBTFUL)
			plan_add_locked(p, k, TRANSFER_VERIFY);
		else if (holder != before && holder != p->open && split_pays_locked(holder, k, now))
			plan_split_locked(p, holder, k);
		else if (!plan_anew_locked(p, holder, &left, k, now))
			before = holder;
	}
	return missing;
}

void plan_ahead_locked(struct plan *p, uint64_t first, uint64_t last, uint64_t allowance)
{
	struct fill *f = p->content->fill;
	uint64_t bytes = UINT64_C(1) << content_shift(p->content);

	for (uint64_t k = first; k <= last; k++) {
		enum chunk_state state = chunk_state_locked(p->content, k, NULL);
		struct transfer *t = p->open;

		if (state == CHUNK_PRESENT || state == CHUNK_HELD)
			continue;
		if (p->count >= AHEAD_REQUESTS && t->last + 1 != k)
			return;
		if (state == CHUNK_DOUBTFUL) {
			plan_add_locked(p, k, TRANSFER_VERIFY);
			continue;
		}
		if (allowance < bytes)
			return;
		allowance -= bytes;
		t = plan_add_locked(p, k, TRANSFER_FETCH);
		t->ahead_from = MIN(t->ahead_from, k);
		t->charge += bytes;
		f->ahead += bytes;
	}
}

void plan_finish_locked(struct plan *p)
{
	if (p->made == NULL)
		return;
	p->cause.owner = p->content->owner;
	for (struct transfer *t = p->made; t; t = t->next) {
		transfer_prepare_locked(t);
		t->read.cause = p->cause;
	}
	p->content->fill->submitting++;
}

void plan_submit(struct plan *p)
{
	struct fill *f;
	struct transfer *t = p->made, *next;

	if (t == NULL)
		return;
	f = t->content->fill; /* p->content may go with the last transfer */
	for (; t; t = next) {
		next = t->next;
		if (t->kind == TRANSFER_VERIFY) {
			pool_submit(f->disk, &t->job);
		} else if (!packed_submit(t)) {
			__atomic_add_fetch(&f->requests, 1, __ATOMIC_RELAXED);
			source_read(f->source, &t->read);
		}
	}
	fill_submitted(f);
}
