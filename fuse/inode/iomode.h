/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The I/O mode of an inode: none, cached(n handles), passthrough(n handles, one backing
 * id). It changes only at n = 0; the kernel answers EIO to an open in another mode.
 * Mappings in passthrough outlive their handles, and the daemon, and the kernel opens a file in
 * cached mode beside them, which then never sees what they store: while there may be one
 * (inode.behind), nothing is opened cached before the lease has told (lease.h). With one,
 * passthrough goes on, for small files and, by direct I/O, for writes that are to be seen.
 * Locking: the inode's lock, taken inside
 */
#pragma once
#include "fuse/inode/server.h"

struct inode;

/* Chooses the mode of a new open of `i` and counts it: fills fi's flags and backing id.
 * `own`: its descriptor of the local file, O_RDWR; -1: none. `watched`: what is written is to be
 * seen; `exact`: every read and write is, as it is made. */
enum iomode_kind iomode_open(struct server *s, struct inode *i, struct fuse_file_info *fi, int own,
                             bool watched, bool exact);
/* A RELEASE, or an open whose reply failed. */
void iomode_release(struct server *s, struct inode *i);
/* Why `i` is not passthrough (yet), for people; NULL: it is, or the next open will be. `whole`:
 * that is known already, which an open has to find out. Caller frees. */
char *iomode_reason(struct server *s, struct inode *i, bool whole);
/* Whether that may change: not where passthrough is unusable, nor for a small file. */
bool iomode_may_pass(struct server *s, struct inode *i);
