/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Names of inodes, in memory. A file has one name in the inode itself, and aliases: each look-up of
 * a file with 20,000 links asks whether a name is one of them.
 * Locking: `_locked` requires server.names written, for the moment of the change: it is held across
 *          no local call. A path is used under a way, and names change in the store and here in a
 *          move (ways.h)
 * Owns:    a returned inode is the parent whose reference passes to the caller, to be put without
 *          any lock; NULL: none
 */
#pragma once
#include "fuse/inode/inode.h"

struct server;

/* The path in the store: from the root, no leading '/', or /unlinked/N; caller frees. For messages:
 * a move may have changed the store already; way_path() waits for it. */
char *inode_path_known(struct server *s, const struct inode *i);
/* The path in the mount, by one of its names, no leading '/'; "": no name is left. Caller frees. */
char *inode_visible_path(struct server *s, const struct inode *i);
/* With `names` read or written; the second: of `name` in a directory. */
char *inode_path_locked(const struct inode *i);
char *inode_child_path_locked(const struct inode *i, const char *name);
/* The path at the source; NULL: nothing remote. */
char *inode_remote(struct server *s, const struct inode *i);

struct inode_extra *inode_extra_locked(struct server *s, struct inode *i);
/* The inode with the names and the object of `i`: itself, or its twin. With `names` read or
 * written. */
const struct inode *names_owner_locked(const struct inode *i);
bool names_has(struct server *s, const struct inode *i, const struct inode *parent,
               const char *name);
bool names_has_aliases(const struct inode *i); /* with server.names read or written */
/* No name of the inode is known. */
bool names_none(struct server *s, const struct inode *i);
/* Takes over a reference on `parent`. */
struct inode *names_add_locked(struct server *s, struct inode *i, struct inode *parent,
                               const char *name);
/* The last name returns NULL: the inode is `nameless` from here on. */
struct inode *names_remove_locked(struct server *s, struct inode *i, struct inode *parent,
                                  const char *name);
/* true: takes over the reference on `to`; the one on `from` passes to the caller. */
bool names_move_locked(struct server *s, struct inode *i, struct inode *from, const char *name,
                       struct inode *to, const char *newname);
/* Replaces the name in the inode itself. */
void names_set_locked(struct server *s, struct inode *i, struct inode *parent, const char *name);
/* Takeover: the names of `i`, in the area, are marked, and its aliases found again. false: damaged.
 */
bool names_restore(struct server *s, struct inode *i);
/* `i` goes: frees its names; the parents of aliases are the caller's by now. */
void names_free(struct server *s, struct inode *i);
