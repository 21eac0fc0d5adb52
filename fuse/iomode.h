/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The I/O mode of an inode: none, cached(n handles), passthrough(n handles, one backing
 * id). It changes only at n = 0 (kernel-facts D1): a mode the kernel would refuse is EIO.
 * Locking: the inode's lock, taken inside
 */
#pragma once
#include "fuse/inode.h"

struct server;
struct fuse_file_info;

/* Chooses the mode of a new open of `i` and counts it. Fills fi's flags and backing id.
 * 0 or a positive errno. */
int iomode_open(struct server *s, struct inode *i, struct fuse_file_info *fi);
/* A RELEASE, or an open whose reply failed. `fi->fh`'s mode is the inode's. */
void iomode_release(struct server *s, struct inode *i);
/* One phrase for people: why `i` is not passthrough (yet); NULL: it is, or will be at
 * the next open. Static string, or owned by the caller through *owned. */
const char *iomode_reason(struct server *s, struct inode *i, char **owned);
