/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The open side of a regular file and the listed side of a directory: where an inode meets fetch/.
 * Locking: takes the inode's lock and `names`
 */
#pragma once
#include "fuse/inode/inode.h"

struct server;

/* The content of `i`, created if there is none; a reference. No I/O. */
struct content *inode_open_content(struct server *s, struct inode *i);
/* The version of the cached data of `i`; 0: no data, or no version. Local I/O; a positive errno in
 * *error. */
source_version inode_version(struct server *s, struct inode *i, int *error);
/* The directory of `i`, borrowed: lives as long as the inode. No I/O. */
struct directory *inode_open_directory(struct server *s, struct inode *i);
/* The listing of `i`'s parent, referenced, and the entry of `i` in it; of the root, what the source
 * says of it. NULL: none. */
struct listing *inode_listed(struct server *s, struct inode *i, uint32_t *index);
/* The same, and that parent, a reference: `i` may have another by now. */
struct listing *inode_listed_in(struct server *s, struct inode *i, uint32_t *index,
                                struct inode **parent);
/* The reported attributes of `i`. */
void inode_stat(struct inode *i, struct stat *st);
