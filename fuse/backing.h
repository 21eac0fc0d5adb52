/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Passthrough registration, behind one interface: the only place that knows how a
 * backing id is had (here: an ioctl on our own session; a keeper later).
 * Shape:   ids of closed files are kept, least recently used out first: an id that is
 *          kept makes the next open of its file cost nothing here
 * Locking: its own mutex; called with the inode's lock held
 */
#pragma once
#include "fuse/inode.h"

struct backing;
struct fuse_session;

/* `usable`: the kernel agreed to passthrough in INIT. */
struct backing *backing_new(struct fuse_session *se, unsigned keep);
void backing_free(struct backing *b); /* closes every id */
/* NULL: usable. Else why not, for the whole mount (static). */
const char *backing_unusable(const struct backing *b);
/* Gives `i` a backing id for `fd` (opened O_RDONLY, may be closed afterwards), or takes the
 * kept one (fd -1 allowed then). 0 or a positive errno: this inode only. */
int backing_acquire(struct backing *b, struct inode *i, int fd);
/* The last handle is gone: the id may be kept. */
void backing_release(struct backing *b, struct inode *i);
/* Drops a kept id now; the inode is going or its file will change. */
void backing_drop(struct backing *b, struct inode *i);
