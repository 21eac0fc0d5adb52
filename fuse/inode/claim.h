/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A file for oneself: what gives up its bytes, or takes another version, does so while nobody has
 * it open, maps it, runs it, or makes it count, and whoever wants to meanwhile waits.
 *
 *     visitors: opens (until they are counted in inode.handles), and who makes the file count
 *     claim:    one at a time, none beside a visitor; local I/O only, and what the kernel does
 *               without us (notifier_inode_now())
 * Locking: inode.opening and inode.claimed, under the inode's lock; then the wait queue of those
 * who wait Errors:  positive errnos with a cause, static
 */
#pragma once
#include "fuse/inode/inode.h"
#include "fuse/inode/waitqueue.h"

struct server;

#define CLAIM_BUSY ERESTART /* told to nobody but replay.h, which waits for its end */

/* A visit, which ends with claims_leave(). false: it has to wait: an open parked_claimed(),
 * anything else fails with CLAIM_BUSY. Never under a claim of one's own. */
bool claims_enter(struct inode *i);
/* -EINPROGRESS: `w` waits, and is called when the file is free; 0: it is; else waitqueue_enter()'s.
 */
int claims_wait(struct server *s, struct inode *i, struct waitqueue_entry *w);
void claims_leave(struct inode *i);

/* 0: the file is the caller's until claim_end(). Looks for mappings that are left of handles, too,
 * and denies execution. */
int claim_begin(struct server *s, struct inode *i, const char **cause);
/* With the inode's lock, of a file whose local object does not matter. false: somebody has it. */
bool claim_try_locked(struct inode *i);
void claim_end(struct server *s, struct inode *i);
