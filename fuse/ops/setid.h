/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What a change of its bytes or its owner takes from a file: the set-id bits, unless who makes it
 * may keep them (CAP_FSETID). With HANDLE_KILLPRIV_V2 that is ours to do; file capabilities the
 * kernel removes itself, before the change, and asks for them once after each look at the
 * attributes.
 * Source:  setattr_should_drop_suidgid() in the kernel; as there, a write through a mapping takes
 *          no set-id bits (it takes the capability, with our own write to the local file)
 * Locking: the inode's lock, taken inside
 * Errors:  positive errnos
 */
#pragma once
#include "fuse/inode/server.h"

struct inode;

/* Does a change by the caller of `req` take any? *left: the mode after it. */
bool setid_goes(fuse_req_t req, struct inode *i, uint32_t *left);
/* The capability was removed for the caller of `req`. */
void setid_capability_went(fuse_req_t req, struct inode *i);
/* May the caller of an empty SETATTR keep them? It says that there was something to be taken: of
 * who has CAP_FSETID the capability, if that just went. (His chown(-1, -1), which takes all,
 * is not told from a write where there was one.) */
bool setid_stays(fuse_req_t req, struct inode *i);
/* Before a WRITE that says that they go. */
int setid_write(fuse_req_t req, struct inode *i, const struct fuse_file_info *fi);
/* After an ACL was set, which is the mode, too: who is not of the group loses the set-group-id bit
 * (posix_acl_update_mode() in the kernel, which FUSE leaves to us). */
int setid_acl(fuse_req_t req, struct inode *i);
/* Is it a file of which each writer is to be seen? `fd`: of what counts, or -1. */
bool setid_watched(struct inode *i, int fd);
