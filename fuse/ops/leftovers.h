/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Copies in the store of what nobody sees any more: it vanished at the source, was removed here, or
 * is of another kind now. */
#pragma once
#include "fuse/ops/leaving.h"

/* Those in a directory, and all below them, go; not what was changed here, not what is open.
 * Nothing where the directory has not been listed. Blocks on the disk. */
void leftovers_drop(struct server *s, struct inode *dir, struct leaving *out);
