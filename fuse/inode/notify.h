/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Invalidation of the kernel's caches.
 *
 *                         the notice waits in the kernel for so it is sent
 *   attributes            nothing                            by the caller, at once
 *   pages, no process has nothing: a READ of a page ends     by the caller, at once:
 *   the file open         before the RELEASE of its file     notifier_inode_now()
 *   pages of an open file the READs and WRITEs of that file  by a thread
 *   a name                the directory's lock, which a      by a thread
 *                         LOOKUP holds until its reply
 *
 * Shape:   the notices for one inode, or for names in one directory, are sent one after the other,
 *          by a thread that does nothing else: a stuck notice delays only its own inode or
 *          directory
 * Memory:  a listing of which all names change makes a notice each, while the kernel may be stuck
 *          with the first: beyond NOTICES_MAX listings are not refreshed, and the old ones served
 * Killed:  the threads have a device of their own, and no other open file: a thread in the kernel
 *          keeps nothing else of a killed daemon open. What it waits for is ended by the guard
 *          (fuse/daemon/guard.h)
 * Refused: FUSE_NOTIFY_INC_EPOCH (Linux 6.16), which never waits: it drops each dentry of the mount
 *          at its next use, and with it mounts below and the path of every working directory
 * Locking: any function from any thread, with any of the daemon's locks held, except
 *          notifier_inode_now(): with none. NULL: a kernel that has cached nothing yet
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define NOTICES_MAX 262144

struct notifier;
struct area;
struct arena;
struct fuse_session;

/* Takes `device`: /dev/fuse, opened before the mount, which may cover it; -1: none. `cloned`: by
 * the worker before this one, whose notices in `area` are sent again, from notifier_begin() on.
 * `area`, `arena`: borrowed; both are used to the end of the last thread. */
struct notifier *notifier_new(struct fuse_session *se, struct area *area, struct arena *arena,
                              int device, bool cloned);
/* Takeover: libfuse has agreed with the kernel, and sends notices from here on. */
void notifier_begin(struct notifier *n);
/* Drops queued and later notices; does not wait for notices in the kernel. */
void notifier_leave(struct notifier *n);
void notifier_stop(struct notifier *n); /* waits for them, too */
void notifier_free(struct notifier *n); /* after notifier_stop() */
/* Invalidates a name, positive or negative: the kernel looks it up again. */
void notifier_entry(struct notifier *n, uint64_t parent, const char *name);
/* Invalidates the attributes, now, and (`pages`) the page cache, soon. */
void notifier_inode(struct notifier *n, uint64_t nodeid, bool pages);
/* Attributes and pages are invalid when this returns. For a directory, or a file that no process
 * has open or can open meanwhile (evict.h). */
void notifier_inode_now(struct notifier *n, uint64_t nodeid);
/* Attributes, and `all` pages, are invalid when this returns, as above. false: the kernel does not
 * know the inode. */
bool notifier_ask(struct notifier *n, uint64_t nodeid, bool all);
/* As many notices wait as may: no listing should be asked for that makes more. */
bool notifier_full(struct notifier *n);
