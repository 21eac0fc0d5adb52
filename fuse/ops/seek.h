/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The inode of a path in the mount, for the daemon itself: it may not use its own mount. */
#pragma once
#include "fuse/inode/inode.h"

struct server;

/* A reference; NULL and a positive errno: ENOENT: no such name. *above: the deepest directory
 * reached, a reference. Blocks on disk and network: directories that the mount has not listed are
 * listed. */
struct inode *inode_seek(struct server *s, const char *path, struct inode **above, int *err);
