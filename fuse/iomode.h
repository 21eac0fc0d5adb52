/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The I/O mode of an inode: none, cached(n handles), passthrough(n handles, one backing
 * id). It changes only at n = 0; the kernel answers EIO to an open in another mode.
 * Locking: the inode's lock, taken inside
 */
#pragma once
#include "fuse/server.h"

struct inode;

/* Chooses the mode of a new open of `i` and counts it: fills fi's flags and backing id.
 * `watched`: what is written is to be seen; `exact`: every read and write is, as it is made. */
enum iomode_kind iomode_open(struct server *s, struct inode *i, struct fuse_file_info *fi,
                             bool watched, bool exact);
/* A RELEASE, or an open whose reply failed. */
void iomode_release(struct server *s, struct inode *i);
/* Why `i` is not passthrough (yet), for people; NULL: it is, or the next open will be. Caller
 * frees. */
char *iomode_reason(struct server *s, struct inode *i);
