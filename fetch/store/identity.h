/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Is the store in its place, or a copy (cp -a, rsync -X, a restored backup)? Files of a copy
 * have other inode numbers; they are bound to their records by the id that record and map share.
 * Hard links that the copy separated become links again. This takes one walk of the store, before
 * it is used.
 *
 * Trust:   all fetched data of a copy is verified, as the store may have been in use when it was
 *          copied. Files that cannot be bound stay, are reported, and are set aside on first use
 * Errors:  -errno: the walk failed, and the store must not be used
 */
#pragma once
#include "fetch/store/disk/store_private.h"

/* *copied: the caller must end the epoch. */
int identity_check(struct store *s, bool *copied);
/* After the bound files are on the disk: records the store's new place. */
int identity_settle(struct store *s);
