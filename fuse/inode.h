/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The inode table: one node per file (hard links share it), found by node id or by
 * st_ino. A node id is index + generation, never a pointer.
 * Shape:   an array of slots; a hash table st_ino → inode (borrowed)
 * Owns:    an inode lives while the kernel's lookup count (untrusted, in the ledger)
 *          or our own references are above zero; it holds a reference on its parent
 * Locking: the table's mutex, then one inode's. Find-or-insert is one critical
 *          section. Name and parent are fixed in this version.
 * Units:   bytes; ns since 1970
 * Memory:  ≤ 400 bytes an inode, listing entry included (tests/bench/memory)
 */
#pragma once
#include <pthread.h>
#include "fetch/fill.h"
#include "fetch/lister.h"

enum iomode_kind { IOMODE_NONE, IOMODE_CACHED, IOMODE_PASSTHROUGH };

/* The open side of a regular file: made by its first open, dropped when nothing is open,
 * nothing under way and no backing id kept. */
struct inode {
	pthread_mutex_t lock;
	uint32_t index, generation;
	uint64_t ino;
	struct inode *parent; /* a reference; NULL for the root */
	char *name;           /* owned; "" for the root */
	int refs;             /* ours; under the table's lock */

	/* Attributes as reported, under `lock` */
	uint64_t size;
	int64_t mtime_ns;
	uint32_t mode, uid, gid, nlink, rdev;

	/* Directory: made by the first lookup in it. Regular file: by its first open. */
	struct directory *directory;
	struct content *content;
	/* I/O mode, under `lock` (iomode.h) */
	uint8_t iomode;         /* enum iomode_kind */
	bool complete;          /* known to be whole, also while content is NULL */
	bool probed;            /* the store was looked at */
	bool keep_cache;        /* the kernel's pages are of this version */
	int backing_errno;      /* last failed registration, 0 = none */
	uint32_t handles;       /* in this mode */
	int32_t backing_id;     /* 0 = none; one an inode (backing.h) */
	GList backing_link;     /* in backing's recently-used queue */
};

struct inode_table;
struct ledger;

struct inode_table *inode_table_new(void);
void inode_table_free(struct inode_table *t);
/* Node id → inode with a reference; NULL: the kernel sent an id that is not alive. */
struct inode *inode_get(struct inode_table *t, uint64_t nodeid);
uint64_t inode_id(const struct inode *i);
struct inode *inode_ref(struct inode_table *t, struct inode *i);
void inode_put(struct inode_table *t, struct inode *i);
/* By st_ino, with a reference; NULL: not known. */
struct inode *inode_find(struct inode_table *t, uint64_t ino);
/* Finds or makes the inode of `entry`, with a reference of ours. `lookup`: one kernel lookup
 * is counted, in the ledger, before this returns. */
struct inode *inode_intern(struct inode_table *t, struct inode *parent, const char *name,
			   const struct listing_entry *entry, bool lookup);
void inode_forget(struct inode_table *t, uint64_t nodeid, uint64_t nlookup);
/* The path from the root, no leading '/'; caller frees. */
char *inode_path(struct inode_table *t, struct inode *i);
uint64_t inode_count(struct inode_table *t);
void inode_foreach(struct inode_table *t, void (*fn)(struct inode *i, void *user), void *user);
