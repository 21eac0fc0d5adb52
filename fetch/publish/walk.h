/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Walks the tree to be published, and plans its index.
 * Shape:   a directory, its names, then its subdirectories in order, each with all that is below
 *          it: memory grows with one directory's names and the depth, not with the tree
 * Trust:   follows no symlinks; crosses mounts. A name that vanishes on the way is an error: the
 *          tree must not change while it is published
 */
#pragma once
#include "fetch/publish/plan.h"

/* `root`: the tree, a descriptor that can be read. `goes_on`: called for each directory; false ends
 * the walk with FETCH_CANCELLED. */
bool walk_tree(struct plan *p, int root, bool (*goes_on)(void *user), void *user, GError **error);
