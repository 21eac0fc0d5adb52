/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A file for oneself: what gives up its bytes, or takes another version, does so while nobody has
 * it open, maps it, runs it, or makes it count, and whoever wants to meanwhile waits.
 *
 *     visitors: opens (until they are counted in inode.handles), and who makes the file count
 *     claim:    one at a time, none beside a visitor; local I/O only, and what the kernel does
 *               without us (notifier_inode_now())
 * Locking: inode.opening and inode.claimed, under the inode's lock; then the queue of waiting opens
 * Errors:  positive errnos with a cause, static
 */
#pragma once
#include "fuse/parked.h"

struct claims;
struct claims *claims_new(void);
void claims_free(struct claims *c);

/* An open is on its way, and ends with claims_leave(). false: it has to wait: `park` makes what is
 * resumed when the file is free, and begins anew. */
bool claims_enter(struct server *s, struct inode *i, struct parked *(*park)(void *), void *user);
/* The same for who may wait here. Never under a claim of one's own. */
void claims_enter_waiting(struct server *s, struct inode *i);
void claims_leave(struct inode *i);

/* 0: the file is the caller's until claim_end(). Looks for mappings that are left of handles, too,
 * and denies execution. */
int claim_begin(struct server *s, struct inode *i, const char **cause);
/* With the inode's lock, of a file whose local object does not matter. false: somebody has it. */
bool claim_try_locked(struct inode *i);
void claim_end(struct server *s, struct inode *i);
