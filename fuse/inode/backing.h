/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Passthrough registration, behind one interface: the only place that knows how a
 * backing id is had (here: an ioctl on our own session; a keeper's service later).
 * Shape:   ids of closed files are kept, least recently used out first: a kept id makes
 *          the next open of its file cost nothing here. A kept id holds one open file in
 *          the kernel, outside of RLIMIT_NOFILE
 * Locking: its own mutex covers inode.backing_id and backing_link; acquire and release are
 *          called with the inode's lock held, drop by whoever holds the inode alone
 */
#pragma once
#include "fuse/inode/inode.h"

struct backing;

/* `unusable`: why no id can be had on this mount (static), NULL where it can. */
struct backing *backing_new(int device, unsigned keep, const char *unusable);
/* Once the kernel has the answer to INIT, and before the first acquire: may we? */
void backing_probe(struct backing *b);
void backing_free(struct backing *b); /* closes every kept id */
const char *backing_unusable(const struct backing *b);
bool backing_kept(struct backing *b, struct inode *i);
/* Gives `i` a backing id for `fd` (opened O_RDONLY, may be closed afterwards; not looked at
 * where an id is kept). 0 or a positive errno, which concerns this inode only. */
int backing_acquire(struct backing *b, struct inode *i, int fd);
/* The last handle is gone: the id is kept, perhaps at the expense of the oldest. */
void backing_release(struct backing *b, struct inode *i);
/* Gives up all ids that no handle uses: the local file of one may be another inode's, too. */
void backing_spare(struct backing *b);
/* Gives the id up now: the inode is going, or its local file will change. */
void backing_drop(struct backing *b, struct inode *i);
