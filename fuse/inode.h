/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The inode table: one node per file (hard links share it), found by node id or by
 * st_ino. A node id is index + generation, never a pointer.
 * Shape:   an array of slots; a hash set by st_ino (borrowed)
 * Owns:    an inode lives while the kernel's lookup count (untrusted, in the ledger)
 *          or our own references are above zero; it holds a reference on its parent
 * Locking: one inode's mutex, then the table's, then `names`, which covers every name,
 *          parent and alias: read by who needs a path, written by who moves one, who also
 *          moves it in the store meanwhile. Find-or-insert is one critical section
 * Units:   bytes; ns since 1970
 * Memory:  ≤ 400 bytes an inode, listing entry included (tests/bench)
 */
#pragma once
#include <pthread.h>
#include "fetch/fill.h"
#include "fetch/lister.h"
#include "fetch/readahead.h"
#include "fetch/store/tree.h"
#include "fuse/write_access.h"

struct server;
struct numbers;

enum iomode_kind { IOMODE_NONE, IOMODE_CACHED, IOMODE_PASSTHROUGH };

/* Another size is told once more than it is noticed: the kernel throws away what it asked for
 * before a notice. */
#define INODE_UNTOLD 2

/* Another name of the same file. */
struct alias {
	struct inode *parent; /* a reference */
	char name[];
};

/* What few inodes have. */
struct inode_extra {
	GHashTable *aliases; /* set of struct alias, owned; NULL: there never was one */
	char *remote;        /* owned; the remote path, where the name does not tell it */
	uint64_t unlinked;   /* its number in the store once it has no name; 0: none */
	/* Of one whose local object counts: */
	int64_t atime_ns, ctime_ns;
	/* ctime_ns is of the last change made here: of an object that still follows the remote,
	 * what is fetched moves the local one's. Something was changed since it was read: */
	bool changed;
	/* CLOCK_MONOTONIC: when it was changed last. A look at the object that began before is not
	 * taken: who looks and who changes it are different threads. */
	int64_t changed_ns;
	/* A change of ours alone: while the object says the first, the second is reported */
	int64_t hidden_ctime_ns, shown_ctime_ns;
	uint64_t blocks; /* of 512 bytes; of a whole file */
	/* Of one that was opened to be written or executed, under `lock`: */
	struct write_handles handles;
	int32_t capability_went; /* the pid it was just removed for (setid.h); 0: none */
	uint32_t seals;          /* as in the store */
	/* Opened O_RDWR in passthrough since it was last found without a mapping for writing */
	bool mapped_behind;
};

struct inode {
	pthread_mutex_t lock;
	uint64_t ino;
	uint64_t shown;       /* st_ino (numbers.h) */
	struct inode *parent; /* a reference; NULL for the root */
	/* owned; NULL: nothing of it. Made under `names` and read under either lock; what is in it
	 * has its own. */
	struct inode_extra *_Atomic extra;
	char *name;                 /* owned; "" for the root */
	uint32_t index, generation; /* inode_id() */
	uint32_t refs;              /* ours; under the table's lock */

	uint32_t type; /* S_IFMT of the mode: never changes, as rdev */
	uint32_t rdev;
	/* As reported, under `lock`, but nlink */
	uint32_t mode, uid, gid;
	_Atomic uint32_t nlink;
	uint64_t size;
	int64_t mtime_ns;

	/* Made when first needed; under `lock`. */
	union {
		struct directory *directory; /* S_ISDIR: a reference, until the inode goes */
		struct content *content;     /* S_ISREG: not counted; there while open (cached) or
		                              * while bytes are on their way, and holds us */
	};
	union {
		struct {                       /* S_ISREG: I/O mode (iomode.h) */
			GList *backing_link;   /* in backing's queue of kept ids */
			int32_t backing_id;    /* 0 = none; one an inode (backing.h) */
			int32_t backing_errno; /* the last registration that failed, 0 = none */
		};
		struct walkahead walk; /* S_ISDIR: who reads one child after the other */
	};
	/* Written under `lock` */
	_Atomic uint32_t handles; /* open in this mode */
	uint32_t passes;          /* how often it was opened in passthrough; under `lock` */
	_Atomic uint32_t opening; /* on their way to be, and other visitors (claim.h) */
	enum claimed { UNCLAIMED, CLAIMED, CLAIMED_COUNTED } claimed; /* claim.h */
	uint8_t iomode;                                               /* enum iomode_kind */
	uint8_t untold;      /* answers with its attributes until the kernel is sure of its size */
	bool complete : 1;   /* whole and trusted, also while content is NULL */
	bool keep_cache : 1; /* the kernel's pages are of this version */
	bool ahead : 1;      /* its bytes were fetched before anybody asked: the walk goes on */
	bool behind : 1;     /* mappings for writing may live in passthrough, without a handle */
	bool outdated : 1;   /* the listing tells of a newer version */
	bool hashed; /* found by st_ino; under the table's lock: no bit field, as those below */
	/* Read without a lock; each is written under one: local by i->lock, the others by `names`,
	 * hence no bit fields, of which a write touches its neighbours */
	_Atomic bool local;    /* the local object counts: attributes are its own */
	_Atomic bool born;     /* nothing remote is left of it, or ever was */
	_Atomic bool mixed;    /* of a file, some bytes are the remote's, others ours */
	_Atomic bool nameless; /* it has no name any more, or none yet */
	_Atomic bool counted;  /* nlink of a directory tells what is in it */
	_Atomic bool indexed;  /* has remote names that the store may not have: found by st_ino */
};

struct inode_table;

/* `numbers`: borrowed; NULL: st_ino is ino. */
struct inode_table *inode_table_new(struct numbers *numbers);
void inode_table_free(struct inode_table *t, struct server *s);
/* Node id → inode with a reference; NULL: the kernel sent an id that is not alive. */
struct inode *inode_get(struct inode_table *t, uint64_t nodeid);
uint64_t inode_id(const struct inode *i);
struct inode *inode_ref(struct inode_table *t, struct inode *i);
void inode_put(struct server *s, struct inode *i);
/* Where it is, while somebody may move it: the directory, a reference, NULL of the root; *name
 * (NULL: not asked for), owned by the caller, also of one that has none any more. */
struct inode *inode_parent(struct server *s, const struct inode *i, char **name);
/* By st_ino, with a reference; NULL: not known. */
struct inode *inode_find(struct inode_table *t, uint64_t ino);
/* Finds or makes the inode of `entry`, with a reference of ours. `lookup`: one kernel lookup
 * is counted, in the ledger, before this returns. */
struct inode *inode_intern(struct server *s, struct inode *parent, const char *name,
                           const struct listing_entry *entry, bool lookup);
/* The same of what counts locally. */
struct inode *inode_intern_local(struct server *s, struct inode *parent, const char *name,
                                 const struct tree_node *node, bool lookup);
/* Its last name is about to go: it is not found by its number any more, which the store may give
 * out again from then on. inode_rehash(): it did not go. */
void inode_unhash(struct inode_table *t, struct inode *i);
void inode_rehash(struct inode_table *t, struct inode *i);
void inode_forget(struct server *s, uint64_t nodeid, uint64_t nlookup);
/* The path in the store: from the root, no leading '/', or /unlinked/N; caller frees. */
char *inode_path(struct server *s, const struct inode *i);
/* In the mount, by one of its names, no leading '/'; "": it has none any more. Caller frees. */
char *inode_visible_path(struct server *s, const struct inode *i);
/* With `names` read or written; the path of `name` in a directory. */
char *inode_path_locked(const struct inode *i);
char *inode_child_path_locked(const struct inode *i, const char *name);
/* Where it comes from; NULL: nothing remote. */
char *inode_remote(struct server *s, const struct inode *i);
uint64_t inode_count(struct inode_table *t);

/* fuse/local.c: what counts locally. Positive errnos. */
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
/* Attributes from the local object, if that counts. */
int inode_refresh(struct server *s, struct inode *i);
void inode_take(struct server *s, struct inode *i, const struct tree_node *node);

/* The inode of a name that its listing tells of: a reference, as it is now. */
struct inode *inode_listed_as(struct server *s, struct inode *dir, const char *name,
                              const struct listing_entry *entry, bool lookup);

/* fuse/content.c: the open side of a regular file and the listed side of a directory */

/* The content of `i`, made where there is none yet; a reference. No I/O. */
struct content *inode_open_content(struct server *s, struct inode *i);
/* The version that what is here of `i` follows; 0: nothing is, or none. Local I/O; a positive errno
 * in *error. */
source_version inode_version(struct server *s, struct inode *i, int *error);
/* The directory of `i`, borrowed: lives as long as the inode. No I/O. */
struct directory *inode_open_directory(struct server *s, struct inode *i);
/* `entry` is what the listing says now. */
enum adoption {
	ADOPTED,     /* the inode says the same */
	ADOPT_LATER, /* the old version is open: `outdated` until it is closed */
	ADOPT_NEVER, /* bytes of the old version are here: the inode stays with them */
};
enum adoption inode_adopt(struct server *s, struct inode *i, const struct listing_entry *entry);
/* The listing says what is held of it, of another version than it has. */
void inode_list_held(struct server *s, struct inode *i);
/* fill_options and lister_options callbacks; `user` is the server. */
char *content_path_now(void *user, struct content *c);
void content_completed(void *user, struct content *c);
void content_changed(void *user, struct content *c);
void content_is_directory(void *user, struct content *c);
void content_released(void *user, struct content *c, void *owner);
char *directory_local_path(void *user, struct directory *d);
bool directory_vanished(void *user, struct directory *d, bool missing, bool unlisted);
void directory_changed(void *user, struct directory *d, struct listing *before,
                       struct listing *after);
