/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The inode table: one inode per file, found by node id or by st_ino. A node id is index +
 * generation, never a pointer.
 * Shape:   an array of slots in the area (area.h), which outlive the worker; a hash set by st_ino
 *          (borrowed)
 * Owns:    an inode lives while the kernel's lookup count (untrusted) or our own references are
 *          above zero
 * Locking: inode.h. Find-or-insert is one critical section
 */
#pragma once
#include "fuse/inode/inode.h"

struct server;
struct area;
struct numbers;
struct inode_table;

/* Both borrowed. `numbers` NULL: st_ino is ino. A used area: takeover.h follows. */
struct inode_table *inode_table_new(struct area *area, struct numbers *numbers);
void inode_table_free(struct inode_table *t, struct server *s);
/* Node id → inode with a reference; NULL: no live inode has this id. */
struct inode *inode_get(struct inode_table *t, uint64_t nodeid);
uint64_t inode_id(const struct inode *i);
struct inode *inode_ref(struct inode_table *t, struct inode *i);
void inode_put(struct server *s, struct inode *i);
/* Parent and name, safe against a concurrent move: the directory, a reference, NULL for the root;
 * *name (may be NULL), owned by the caller, also of an unlinked file. */
struct inode *inode_parent(struct server *s, const struct inode *i, char **name);
struct inode_known {
	uint64_t id, nlookup;
	bool directory;
};
/* The next `most` inodes that the kernel knows, from slot *next on, which this raises. Returns how
 * many; fewer than `most`: these were the last. */
uint32_t inode_table_known(struct inode_table *t, uint32_t *next, struct inode_known *out,
                           uint32_t most);
/* By st_ino, with a reference; NULL: not known. */
struct inode *inode_find(struct inode_table *t, uint64_t ino);
/* Finds or makes the inode of `entry`, with a reference for the caller. `lookup`: raises the lookup
 * count before this returns. */
struct inode *inode_intern(struct server *s, struct inode *parent, const char *name,
                           const struct listing_entry *entry, bool lookup);
/* Its last name is about to be removed: it is no longer found by its number, which the store may
 * assign again. inode_rehash(): the name stayed. */
void inode_unhash(struct inode_table *t, struct inode *i);
void inode_rehash(struct inode_table *t, struct inode *i);
/* How many lookups are left, if these may be too many (doubt.h); 0: none, or they are right. */
uint64_t inode_forget(struct server *s, uint64_t nodeid, uint64_t nlookup);
/* The kernel does not know it: forgets all, if there are `nlookup` still. */
void inode_forget_unknown(struct server *s, uint64_t nodeid, uint64_t nlookup);
uint64_t inode_count(struct inode_table *t);
