/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The digests of an older version, for the files that have not changed since.
 * Trust:   a file of the same path, size and mtime (ns) has the same content, unless its mtime is
 *          younger than a minute before the older publish began: then it may have been changed
 *          again within one tick of the clock. The older index does not record inode numbers and
 *          ctimes, which another copy of the tree would not have either
 * Locking: immutable; from any thread
 * Errors:  a damaged older index is an error when it is opened; where it is damaged later on, its
 *          digests are unknown
 */
#pragma once
#include "fetch/index/digest.h"
#include "fetch/publish/spill.h"

struct reuse;

/* `old`: a published tree, the directory it was written to, its `.lacuna`, or an index. */
struct reuse *reuse_open(const char *old, GError **error);
void reuse_free(struct reuse *r);
/* The digests of `length` bytes of a file from `offset` on, a multiple of DIGEST_BLOCK. false: they
 * must be computed. */
bool reuse_digests(const struct reuse *r, const char *path, const struct spill_inode *file,
                   uint64_t offset, uint64_t length, struct digest *out);
