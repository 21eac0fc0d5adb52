/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The rules of write access and of seals (write_access.h, seal.h), applied to inodes.
 * Locking: the inode's lock, taken inside. server.sealing: read-locked by a
 *          change of data, from the check of the seals to the change; write-locked to add
 *          seals, so that no change follows them. server.sealers, before that: one request adds
 *          seals at a time, also while the store records them
 * Errors:  0 or a positive errno
 */
#pragma once
#include "fuse/base/seal.h"
#include "fuse/inode/inode.h"
#include "fuse/inode/server.h"

/* An open with these flags is counted, until the release with the same. */
int access_open(struct server *s, struct inode *i, int flags);
void access_release(struct server *s, struct inode *i, int flags);
/* A truncation by path, for as long as it takes. */
int access_truncate(struct server *s, struct inode *i, uint64_t size);
uint32_t access_seals(struct inode *i);
/* Those in memory are in the store from here on, which may not have been so. */
int access_keep_seals(struct server *s, struct inode *i);
/* `writable`: how the descriptor was opened. Local I/O. */
int access_add_seals(struct server *s, struct inode *i, uint32_t wanted, bool writable);
/* Around a change of data and the checks below that it needs. Local I/O, no reply. */
void access_begin(struct server *s) ACQUIRE_SHARED(s->sealing);
void access_end(struct server *s) RELEASE_SHARED(s->sealing);
/* A write was refused, in whole or in part, after the kernel had changed its page cache. */
void access_refused(struct server *s, struct inode *i);
/* access_truncate() without the rules of write access: only the seals. */
int access_resize(struct server *s, struct inode *i, uint64_t size);
/* The part of a write that the seals allow. */
int access_write(struct inode *i, uint64_t offset, uint64_t length, bool writeback,
                 uint64_t *allowed);
int access_chmod(struct inode *i, uint32_t mode);
int access_fallocate(struct inode *i, int mode, uint64_t offset, uint64_t length);
