/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Exclusive use of a file: an eviction or a change of version runs while no process has the file
 * open, mapped or running, and no request makes it kept; such requests wait until it is done.
 *
 *     visitors: opens (until they are counted in inode.handles), and requests that make it kept
 *     claim:    one at a time, none beside a visitor; local I/O only, and invalidations that the
 *               kernel does without the daemon (notifier_inode_now())
 * Locking: inode.opening and inode.claimed, under the inode's lock; then the wait queue
 * Errors:  positive errnos with a cause, static
 */
#pragma once
#include "fuse/inode/inode.h"
#include "fuse/inode/waitqueue.h"

struct server;

#define CLAIM_BUSY ERESTART /* internal: replay.h waits for the end of the claim */

/* Begins a visit, which ends with claims_leave(). false: the file is claimed: an open calls
 * parked_claimed(), other requests fail with CLAIM_BUSY. Never under a claim of the caller's. */
bool claims_enter(struct inode *i);
/* -EINPROGRESS: `w` waits, and is called when the file is free; 0: it is free; else the error of
 * waitqueue_enter(). */
int claims_wait(struct server *s, struct inode *i, struct waitqueue_entry *w);
void claims_leave(struct inode *i);

/* 0: the caller has the file to itself until claim_end(). Also looks for mappings that outlived
 * their handles, and denies execution. */
int claim_begin(struct server *s, struct inode *i, const char **cause);
/* With the inode's lock, if the local object does not matter. false: the file is in use. */
bool claim_try_locked(struct inode *i) REQUIRES(i->lock);
void claim_end(struct server *s, struct inode *i);
