/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A name that goes from an object, and what becomes of who still has the object.
 *
 *      named ──its last name goes──▶ nameless, in the store under a number ──forgotten──▶ gone
 *        ▲                              │ where somebody has it open, or a rename has put
 *        └──another name is looked up───┘ something else in its place: who looked that name up
 *                                         before may open it still; else gone at once
 *
 * An object with other names that nobody has looked up yet is nameless, too, until one is.
 * Locking: as names.h; between departure_prepare() and move_begin() somebody may open the object,
 *          which departure_stands() tells: who opens it later hears of inode_is_gone()
 * Errors:  0 or a positive errno
 */
#pragma once
#include "fuse/inode/inode.h"

struct server;

struct departure {
	bool last;       /* no other name of it is left, known or not */
	uint64_t number; /* it is /unlinked/`number` once the name went; 0: it is not */
	uint64_t gone;   /* nothing is left of what had this inode number; 0: something is */
};

/* Before `i`, which has just been looked at, loses a name. `replaced`: by a rename. */
int departure_prepare(struct server *s, struct inode *i, struct inode *dir, const char *name,
                      bool replaced, struct departure *out);
/* Once the move has begun. false: to be prepared anew. */
bool departure_stands(struct server *s, const struct inode *i, const struct departure *d);
/* The name has gone from the store. As names_remove_locked(); takes the number over, if that is
 * needed. */
struct inode *departure_done_locked(struct inode *i, struct inode *dir, const char *name,
                                    struct departure *d);
/* A number that was not taken over; marks of what is gone. No lock held. */
void departure_end(struct server *s, struct departure *d);
/* Nothing of it is left for who opens it now. */
bool inode_is_gone(struct server *s, const struct inode *i);
