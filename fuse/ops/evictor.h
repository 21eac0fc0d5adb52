/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The evictor makes room in the store (room.h), on a thread of its own: in the background, before
 * room is short, and for requests that found none (shortage.h).
 * Choice:  least recently used first (victims.h), whole files; by evict_file(), so nothing that is
 *          local, open, mapped, running, sealed, pinned, or that the source does not confirm
 * Locking: its own mutex, never held across a call; any thread
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct evictor;
struct server;

/* NULL: no thread; then no shortage ends. */
struct evictor *evictor_new(struct server *s);
/* Joins the thread, and frees. After source_stop(), which ends its requests; before the source
 * goes. */
void evictor_free(struct evictor *e);

struct evictor_info {
	uint64_t files, bytes; /* evicted since the mount */
	uint64_t rounds, failed_rounds;
	/* Of the last round: files that were kept because of these */
	unsigned in_use, pinned, sealed, unconfirmed;
};
void evictor_info(struct evictor *e, struct evictor_info *out);
