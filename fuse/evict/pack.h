/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Eviction of packs (fetch/fill/packed.c): all of the files in one go together.
 * Locking: blocks on the network; with no lock held, and under no claim
 */
#pragma once
#include "fuse/evict/leaving.h"

/* The pack at `path`, as in measure.h. It is dropped if the source still has it, or has no version
 * with it any more, and if none of its files is open. While anything is pinned it stays: which
 * files it has is not known. */
void pack_evict(struct server *s, const char *path, struct leaving *out);
/* The pack that `i`, which has no local file, is in, if any. */
void pack_evict_of(struct server *s, struct inode *i, const char *remote, struct leaving *out);
