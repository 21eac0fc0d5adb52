/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A change of a file's data or owner clears its set-id bits, unless the caller has CAP_FSETID. With
 * HANDLE_KILLPRIV_V2 the server does that; the kernel itself removes file capabilities, before the
 * change, and reads them once after each look at the attributes.
 * Source:  setattr_should_drop_suidgid() in the kernel; as there, a write through a mapping clears
 *          no set-id bits (the capability goes, with the daemon's write to the local file)
 * Locking: the inode's lock, taken inside
 * Errors:  positive errnos
 */
#pragma once
#include "fuse/inode/server.h"

struct inode;

/* Does a change by the caller of `req` clear any bits? *left: the remaining mode. */
bool setid_goes(fuse_req_t req, struct inode *i, uint32_t *left);
/* The capability was removed for the caller of `req`. */
void setid_capability_went(fuse_req_t req, struct inode *i);
/* May the caller of an empty SETATTR keep the bits? The kernel sends it if there was anything to
 * clear: for a caller with CAP_FSETID the capability, if that was just removed. (Such a caller's
 * chown(-1, -1), which clears all, looks like a write if there was a capability.) */
bool setid_stays(fuse_req_t req, struct inode *i);
/* Before a WRITE that is flagged to clear them. */
int setid_write(fuse_req_t req, struct inode *i, const struct fuse_file_info *fi);
/* After an ACL was set, which changes the mode: a caller outside the group loses the set-group-id
 * bit (posix_acl_update_mode() in the kernel, which FUSE leaves to the server). */
int setid_acl(fuse_req_t req, struct inode *i);
/* Must the daemon see each write to the file? `fd`: of the local object, or -1. */
bool setid_watched(struct inode *i, int fd);
