/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Passthrough registration, behind one interface: the only place that obtains
 * backing ids (by an ioctl on the daemon's own session).
 * Shape:   ids of closed files are kept, least recently used out first: a kept id makes
 *          the next open of its file free. It holds one open file in
 *          the kernel, outside of RLIMIT_NOFILE
 * Killed:  ids belong to the connection, and stay when the worker ends: inode.backing_id lies in
 *          the area. One that was being registered then is closed by the next worker
 * Locking: its own mutex covers inode.backing_id and backing_link, and closing an id; acquire and
 *          release are called with the inode's lock held, drop by a caller with exclusive use of
 *          the inode
 */
#pragma once
#include "fuse/inode/inode.h"

struct area;
struct backing;

/* `unusable`: why this mount cannot obtain ids (static), NULL if it can. */
struct backing *backing_new(struct area *area, int device, unsigned keep, const char *unusable);
/* After the reply to INIT, and before the first acquire: tests whether ids are permitted. */
void backing_probe(struct backing *b);
void backing_free(struct backing *b); /* closes every kept id */
const char *backing_unusable(const struct backing *b);
bool backing_kept(struct backing *b, struct inode *i);
/* Gives `i` a backing id for `fd` (opened O_RDONLY, may be closed afterwards; unused
 * where an id is kept). 0 or a positive errno, which concerns this inode only. */
int backing_acquire(struct backing *b, struct inode *i, int fd);
/* The last handle was released: the id is kept, perhaps at the expense of the oldest. */
void backing_release(struct backing *b, struct inode *i);
/* Takeover: the id of `i`, whose handles are counted, is kept; that of a free slot is closed. */
void backing_restore(struct backing *b, struct inode *i);
/* Takeover: closes ids that the worker before had just been given; `held`: set of those that inodes
 * have. */
void backing_recover(struct backing *b, GHashTable *held);
/* Drops all ids without handles: another inode may use the local file of one. */
void backing_spare(struct backing *b);
/* Drops the id now: the inode is about to be freed, or its local file to change. */
void backing_drop(struct backing *b, struct inode *i);
