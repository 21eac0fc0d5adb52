/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The local object of an inode: how it takes precedence over the listing, and how the inode takes
 * its attributes from it.
 * Locking: takes the inode's lock and `names`; the caller holds neither, unless stated
 * Errors:  0 or a positive errno
 */
#pragma once
#include "fuse/inode/inode.h"

struct server;

/* Makes the inode local. Local I/O, in the order that format.h prescribes. */
int inode_keep(struct server *s, struct inode *i);
/* Notes a change of the inode. inode_keep() notes one, too, before it is made. */
void inode_changed(struct inode *i);
/* Likewise for data: the file reaches to `end` at least; it ends at `size`. */
void inode_grown(struct inode *i, uint64_t end);
void inode_cut(struct inode *i, uint64_t size);
/* For a file with several remote names, in a move: the store has one name more, or one less. */
void inode_count_links(struct server *s, struct inode *i, int change);
/* Makes that name of the file one in the store, too. */
int inode_materialise(struct server *s, struct inode *dir, struct inode *i, const char *name);
/* As inode_keep(), before any change is made: the ctime stays as it was. */
int inode_keep_quietly(struct server *s, struct inode *i);
int64_t inode_ctime(struct inode *i);
void inode_hide_ctime(struct inode *i, int64_t shown_ns);
/* A descriptor of the local file; -errno. */
int inode_open_local(struct server *s, struct inode *i, int flags);
/* Reads the attributes of a local inode from its object. */
int inode_refresh(struct server *s, struct inode *i);
void inode_take(struct server *s, struct inode *i, const struct tree_node *node);
/* After a takeover, once: the worker before may have made the file local, or fully local, and died
 * before it was noted in memory. */
void inode_revive(struct server *s, struct inode *i);

/* As inode_intern(), for a local object. */
struct inode *inode_intern_local(struct server *s, struct inode *parent, const char *name,
                                 const struct tree_node *node, bool lookup);
/* The inode of a listed name, with current attributes: a reference. NULL and a positive errno. */
struct inode *inode_listed_as(struct server *s, struct inode *dir, const char *name,
                              const struct listing_entry *entry, bool lookup, int *err);
/* The inode of a local name; `lookup`: it counts as a lookup of the kernel. A reference, or NULL
 * and a positive errno. *number (may be NULL): st_ino of the object in the store. */
struct inode *child_local(struct server *s, struct inode *dir, const char *name, bool lookup,
                          uint64_t *number, int *err);
