/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Names of inodes: where they are in memory. A file has one name in the inode itself, and
 * aliases: of a file with 20,000 links each look-up asks whether a name is one of them.
 * Locking: `_locked` wants server.names written, for the moment of the change: it is held across no
 *          local call. What a path is used for is a way, and what changes names in the store and
 *          here a move (ways.h)
 * Owns:    what returns an inode returns the parent whose reference is the caller's now: to be put
 *          without any lock; NULL: none
 */
#pragma once
#include "fuse/inode/inode.h"

struct server;

/* The path in the store: from the root, no leading '/', or /unlinked/N; caller frees. For messages:
 * it may be moved in the store already; way_path() is not. */
char *inode_path_known(struct server *s, const struct inode *i);
/* In the mount, by one of its names, no leading '/'; "": it has none any more. Caller frees. */
char *inode_visible_path(struct server *s, const struct inode *i);
/* With `names` read or written; the second, of `name` in a directory. */
char *inode_path_locked(const struct inode *i);
char *inode_child_path_locked(const struct inode *i, const char *name);
/* Where it comes from; NULL: nothing remote. */
char *inode_remote(struct server *s, const struct inode *i);

struct inode_extra *inode_extra_locked(struct inode *i);
/* What has the names and the object of `i`: itself, or its twin. With `names` read or written. */
const struct inode *names_owner_locked(const struct inode *i);
bool names_has(struct server *s, const struct inode *i, const struct inode *parent,
               const char *name);
bool names_has_aliases(const struct inode *i); /* with server.names read or written */
/* None of its names is known. */
bool names_none(struct server *s, const struct inode *i);
/* Takes over a reference on `parent`. */
struct inode *names_add_locked(struct inode *i, struct inode *parent, const char *name);
/* Of the last name nothing is returned: `nameless` from here on. */
struct inode *names_remove_locked(struct inode *i, struct inode *parent, const char *name);
/* true: the reference on `to` is taken over, that on `from` is the caller's. */
bool names_move_locked(struct inode *i, struct inode *from, const char *name, struct inode *to,
                       const char *newname);
