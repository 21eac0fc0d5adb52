/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The I/O mode of an inode: none, cached(n handles), passthrough(n handles, one backing
 * id). It changes only at n = 0; the kernel answers EIO to an open in another mode.
 * Mappings in passthrough outlive their handles and the daemon. The kernel would open a file in
 * cached mode beside them, which never sees their stores: while one may exist
 * (inode.behind), no open is cached before the lease is probed (lease.h). If one exists, opens
 * stay in passthrough, also of small files, and, with direct I/O, if the daemon must see writes.
 * Locking: the inode's lock, taken inside
 */
#pragma once
#include "fuse/inode/server.h"

struct inode;

/* Chooses the mode of a new open of `i` and counts it: fills fi's flags and backing id.
 * `own`: its descriptor of the local file, O_RDWR; -1: none. `watched`: the daemon must see all
 * writes; `exact`: every read and write, as the caller makes it. */
enum iomode_kind iomode_open(struct server *s, struct inode *i, struct fuse_file_info *fi, int own,
                             bool watched, bool exact);
/* A RELEASE, or an open whose reply failed. */
void iomode_release(struct server *s, struct inode *i);
/* Why `i` is not in passthrough (yet), for people; NULL: it is, or the next open will be. `whole`:
 * the caller knows that the file is complete. Caller frees. */
char *iomode_reason(struct server *s, struct inode *i, bool whole);
/* Whether that may change: not where passthrough is unusable, nor for a small file. */
bool iomode_may_pass(struct server *s, struct inode *i);
