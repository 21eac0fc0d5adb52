/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The local object of an inode: how it comes to count, and what an inode says of itself then.
 * Locking: takes the inode's lock and `names`; none held by the caller, but where it says so
 * Errors:  0 or a positive errno
 */
#pragma once
#include "fuse/inode/inode.h"

struct server;

/* Makes the local object count. Local I/O, in the order that format.h wants. */
int inode_keep(struct server *s, struct inode *i);
/* Something of it was changed here, after inode_keep(), which says so beforehand. */
void inode_changed(struct inode *i);
/* The same of bytes: it reaches to `end` at least; it ends at `size`. */
void inode_grown(struct inode *i, uint64_t end);
void inode_cut(struct inode *i, uint64_t size);
/* Of a file with several remote names, with `names` written: the store has one more, or less. */
void inode_count_links(struct server *s, struct inode *i, int change);
/* That name of it is one of the store, too. */
int inode_materialise(struct server *s, struct inode *dir, struct inode *i, const char *name);
/* The same where nobody changes anything yet: its ctime stays as it was. */
int inode_keep_quietly(struct server *s, struct inode *i);
int64_t inode_ctime(struct inode *i);
void inode_hide_ctime(struct inode *i, int64_t shown_ns);
/* A descriptor of the local file; -errno. */
int inode_open_local(struct server *s, struct inode *i, int flags);
/* Attributes from the local object, if that counts. */
int inode_refresh(struct server *s, struct inode *i);
void inode_take(struct server *s, struct inode *i, const struct tree_node *node);

/* The same of what counts locally, as inode_intern(). */
struct inode *inode_intern_local(struct server *s, struct inode *parent, const char *name,
                                 const struct tree_node *node, bool lookup);
/* The inode of a name that its listing tells of: a reference, as it is now. NULL and a positive
 * errno. */
struct inode *inode_listed_as(struct server *s, struct inode *dir, const char *name,
                              const struct listing_entry *entry, bool lookup, int *err);
