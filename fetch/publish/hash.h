/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Hashes the data of a planned tree, on several threads, and writes the digests.
 * Errors: LOCAL_ERROR; FETCH_CHANGED: a file is not the one that was planned
 */
#pragma once
#include "fetch/publish/plan.h"

/* `root`: the tree. `digests`: where they begin in `fd`. `tick`: called on this thread every 0.1 s
 * with the bytes and files hashed so far; false ends it with FETCH_CANCELLED. */
bool hash_tree(const struct plan *p, int root, int fd, uint64_t digests, unsigned threads,
               bool (*tick)(void *user, uint64_t bytes, uint64_t files), void *user,
               GError **error);
