/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The evictor frees space in the store (space.h), on a thread of its own: in the background, before
 * space is short, and for requests that found none (shortage.h).
 * Choice:  least recently used first (victims.h), whole files; by evict_file(), so local, open,
 *          mapped, running, sealed, pinned and unconfirmed data stays
 * Locking: its own mutex, never held across a call; any thread
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct evictor;
struct server;

/* NULL: the thread could not start; requests without space then fail at once. */
struct evictor *evictor_new(struct server *s);
/* Joins the thread. Call after source_stop() and before source_close(). */
void evictor_free(struct evictor *e);

struct evictor_info {
	uint64_t files, bytes; /* evicted since the mount */
	uint64_t rounds, failed_rounds;
	/* Of the last round: files that were kept because of these */
	unsigned in_use, pinned, sealed, unconfirmed;
};
void evictor_info(struct evictor *e, struct evictor_info *out);
