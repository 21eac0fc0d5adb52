/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Telling the kernel what its caches should forget. A thread of its own, because the kernel
 * takes a directory's lock for it, which the very request that is waiting for us may hold.
 * Locking: any function from any thread, with any lock of ours held
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct notifier;
struct fuse_session;

struct notifier *notifier_new(struct fuse_session *se);
void notifier_stop(struct notifier *n); /* what is queued, and what comes, is dropped */
void notifier_free(struct notifier *n); /* after notifier_stop() */
/* The name: positive or negative, it is looked up again. */
void notifier_entry(struct notifier *n, uint64_t parent, const char *name);
/* The attributes, and (`pages`) what is in the page cache. */
void notifier_inode(struct notifier *n, uint64_t nodeid, bool pages);
