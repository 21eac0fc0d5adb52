/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Is the store where it was left, or a copy (cp -a, rsync -X, a restored backup)? Files of a copy
 * have other inode numbers, and are bound to their records by the id that these share with their
 * maps; hard links that became files are links again. It takes one walk, before anything is used.
 *
 * Trust:   in a copy every byte that was fetched is verified: it may have been made of a store in
 *          use. What cannot be bound stays, is said, and is set aside when it is used
 * Errors:  -errno: the walk could not be finished, and the store must not be used
 */
#pragma once
#include "fetch/store/disk/store_private.h"

/* *copied: the epoch is to end. */
int identity_check(struct store *s, bool *copied);
/* What was bound is on the disk: it is where it is. */
int identity_settle(struct store *s);
