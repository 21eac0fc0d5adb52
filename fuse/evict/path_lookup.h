/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Finds the inode of a path: the daemon must not access its own mount. */
#pragma once
#include "fuse/inode/inode.h"

struct server;

/* A reference; NULL and a positive errno: ENOENT: no such name. *above: the deepest directory
 * reached, a reference. Blocks on disk and network: directories that the mount has not listed are
 * listed. */
struct inode *path_lookup(struct server *s, const char *path, struct inode **above, int *err);
