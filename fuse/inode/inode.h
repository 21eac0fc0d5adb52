/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One file as the kernel knows it: hard links share one inode. inode_table.h finds, makes and drops
 * them; names.h, inode_content.h, local.h and adoption.h are what is done with one.
 * Owns:    a reference on its parent
 * Locking: the inode's mutex, then the table's, then `names` of the server, which covers every
 *          name, parent and alias; what a path is used for is a way (ways.h)
 * Units:   bytes; ns since 1970
 * Memory:  ≤ 400 bytes an inode, listing entry included (tests/bench)
 */
#pragma once
#include <pthread.h>
#include "fetch/base/readahead.h"
#include "fetch/fill/fill.h"
#include "fetch/list/lister.h"
#include "fetch/store/tree/tree.h"
#include "fuse/inode/write_access.h"

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
	struct inode *twin;  /* a reference; it has the names and the file (twin.h); NULL: none.
	                      * Written under the table's lock and `names` */
	GPtrArray *twins;    /* whose twin this is (borrowed); under the table's lock */
	_Atomic bool is_twin, has_twin; /* there are such; it has one */
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
	uint64_t version; /* source_version of the bytes that it had when it was opened last, or was
	                   * complete; 0: not known. Under `lock` */

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
	_Atomic uint64_t number;  /* content_number(), of when it was last open; 0: never */
	uint32_t passes;          /* how often it was opened in passthrough; under `lock` */
	_Atomic uint32_t opening; /* on their way to be, and other visitors (claim.h) */
	enum claimed { UNCLAIMED, CLAIMED, CLAIMED_COUNTED } claimed; /* claim.h */
	uint8_t iomode;                                               /* enum iomode_kind */
	uint8_t untold;      /* answers with its attributes until the kernel is sure of its size */
	bool complete : 1;   /* whole and trusted, also while content is NULL */
	bool keep_cache : 1; /* the kernel's pages are of this version */
	bool cached : 1;     /* it was opened in the page cache: the kernel may have pages */
	bool ahead : 1;      /* its bytes were fetched before anybody asked: the walk goes on */
	bool behind : 1;     /* mappings for writing may live in passthrough, without a handle */
	bool outdated : 1;   /* the listing tells of a newer version */
	bool walked : 1;     /* the kernel may have names of it in a copy (walked.h) */
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
