/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Telling the kernel what its caches should forget.
 *
 *                         it waits in the kernel for         so it is told
 *   attributes            nothing                            by the caller, at once
 *   pages, nobody has     nothing: a READ of a page ends     by the caller, at once:
 *   the file open         before the RELEASE of its file     notifier_inode_now()
 *   pages of an open file the READs and WRITEs of that file  by a thread
 *   a name                the directory's lock, which a      by a thread
 *                         LOOKUP holds until we answer
 *
 * Shape:   the notices for one inode, or for names in one directory, go out one after the other,
 *          by a thread that nothing else waits for: what is stuck holds up its own kind alone
 * Killed:  the threads have a device of their own, and nothing else that is open. One that waits
 *          for a request that was read ends with the daemon, as that request does. Left: one that
 *          waits for a request that nobody has read, until that is given up (SIGKILL does)
 * Refused: FUSE_NOTIFY_INC_EPOCH (Linux 6.16), which waits for nothing: it drops each dentry of
 *          the mount at its next use, and with it what is mounted below and the path of every
 *          working directory
 * Locking: any function from any thread, with any lock of ours held, but notifier_inode_now():
 *          with none. NULL is a notifier of a kernel that knows nothing yet
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct notifier;
struct fuse_session;

/* `device`: /dev/fuse, opened before the mount, which may cover it; taken over. -1: none. */
struct notifier *notifier_new(struct fuse_session *se, int device);
/* What is queued, and what comes, is dropped; what is with the kernel is not waited for. */
void notifier_leave(struct notifier *n);
void notifier_stop(struct notifier *n); /* and waited for */
void notifier_free(struct notifier *n); /* after notifier_stop() */
/* The name: positive or negative, it is looked up again. */
void notifier_entry(struct notifier *n, uint64_t parent, const char *name);
/* The attributes, now, and (`pages`) what is in the page cache, soon. */
void notifier_inode(struct notifier *n, uint64_t nodeid, bool pages);
/* Attributes and pages have gone when this returns. Of a directory, or a file that nobody has open
 * or can open meanwhile (evict.h). */
void notifier_inode_now(struct notifier *n, uint64_t nodeid);
