/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The removal of a name from an object that may still be in use.
 *
 *      named ──its last name goes──▶ nameless, in the store under a number ──forgotten──▶ gone
 *        ▲                              │ if the object is open, or a rename has replaced it: a
 *        └──another name is looked up───┘ process that looked the name up before may still open
 *                                         it; else gone at once
 *
 * An object whose other names have not been looked up yet is nameless, too, until one is.
 * Locking: as names.h; between departure_prepare() and move_begin() the object may be opened,
 *          which departure_stands() detects; later opens check inode_is_gone()
 * Errors:  0 or a positive errno
 */
#pragma once
#include "fuse/inode/inode.h"

struct server;

struct departure {
	bool last;       /* the object has no other name, known or not */
	uint64_t number; /* it becomes /unlinked/`number`; 0: it does not */
	uint64_t gone;   /* inode number of an object that no longer exists; 0: it does */
};

/* Before `i`, just looked at, loses a name. `replaced`: by a rename. */
int departure_prepare(struct server *s, struct inode *i, struct inode *dir, const char *name,
                      bool replaced, struct departure *out);
/* Once the move has begun. false: it must be prepared again. */
bool departure_stands(struct server *s, const struct inode *i, const struct departure *d);
/* The name was removed from the store. As names_remove_locked(); takes the number over, if it is
 * needed. */
struct inode *departure_done_locked(struct server *s, struct inode *i, struct inode *dir,
                                    const char *name, struct departure *d);
/* Drops a number that was not taken over, and marks of a gone object. No lock held. */
void departure_end(struct server *s, struct departure *d);
/* The object no longer exists for new opens. */
bool inode_is_gone(struct server *s, const struct inode *i);
