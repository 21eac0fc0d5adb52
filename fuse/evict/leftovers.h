/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Leftovers: copies in the store of remote files that vanished at the source, were removed
 * locally, or are of another type now. */
#pragma once
#include "fuse/evict/leaving.h"

/* Removes those in a directory, and all below them, except local changes and open files.
 * No-op where the directory has not been listed. Blocks on the disk. */
void leftovers_drop(struct server *s, struct inode *dir, struct leaving *out);
