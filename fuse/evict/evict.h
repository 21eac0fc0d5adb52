/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Evicting cached data, and taking newer versions. The source is asked first; the file is then
 * claimed (claim.h): the dropped data can be fetched again, and the kernel's caches are
 * invalidated before the next open.
 * Errors:  positive errnos with a cause, static: why the file was skipped
 */
#pragma once
#include "fuse/evict/leaving.h"

/* Drops the cached data of a file that is not pinned; of a directory, its leftovers (leftovers.h).
 * Blocks on disk and network. */
void evict_file(struct server *s, struct inode *i, struct leaving *out);
/* Takes the source's current version of a file without local changes; lists a directory
 * anew. Blocks on disk and network. */
void refresh_file(struct server *s, struct inode *i, struct leaving *out);
