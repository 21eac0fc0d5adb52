/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One file as the kernel knows it: hard links share one inode. inode_table.h finds, makes and drops
 * inodes; names.h, inode_content.h, local.h and adoption.h work on one.
 * Owns:    a reference on its parent
 * Locking: the inode's mutex, as said below; the table's; `names` of the server covers every
 *          name, parent and alias; a path is used under a way (ways.h)
 * Units:   bytes; ns since 1970
 * Memory:  ≤ 400 bytes an inode, listing entry included (tests/bench)
 */
#pragma once
#include "fetch/base/lock.h"
#include "fetch/base/readahead.h"
#include "fetch/fill/fill.h"
#include "fetch/list/lister.h"
#include "fetch/store/tree/tree.h"
#include "fuse/inode/write_access.h"

enum iomode_kind { IOMODE_NONE, IOMODE_CACHED, IOMODE_PASSTHROUGH };

/* A new size is reported once more after its notice: the kernel discards attributes it requested
 * before a notice. */
#define INODE_RESEND_SIZE 2

/* Another name of the same file; in the area, as inodes and their members are (area.h). */
struct alias {
	struct inode *parent;        /* a reference */
	struct alias *next, *before; /* of the same file; `before` is made again at a takeover */
	char name[];
};

/* Members that few inodes need. */
struct inode_extra {
	struct alias *first; /* owned */
	GHashTable *aliases; /* set of these, on the heap; NULL: there never was one */
	char *remote;        /* owned; the remote path, if it differs from the name's */
	uint64_t unlinked;   /* its number in the store once it has no name; 0: none */
	struct inode *twin;  /* a reference; it has the names and the file (twin.h); NULL: none.
	                      * Written under the table's lock and `names` */
	GPtrArray *twins;    /* whose twin this is (borrowed); under the table's lock */
	_Atomic bool is_twin, has_twin; /* there are such; it has one */
	/* For a local (kept) object: */
	int64_t atime_ns, ctime_ns;
	/* ctime_ns is of the last local change: fetches move the ctime of the local object of a
	 * file that still follows the remote. Changed since it was read: */
	bool changed;
	/* CLOCK_MONOTONIC: time of the last change. A look at the object that began earlier is
	 * discarded: looks and changes run on different threads. */
	int64_t changed_ns;
	/* An internal change: while the object has the first, the second is reported */
	int64_t hidden_ctime_ns, shown_ctime_ns;
	uint64_t blocks; /* of 512 bytes; of a complete file */
	/* For a file that was opened to be written or executed, under `lock`: */
	struct write_handles handles;
	int32_t capability_went; /* the pid it was just removed for (setid.h); 0: none */
	uint32_t seals;          /* as in the store */
	/* Opened O_RDWR in passthrough since it last had no writable mapping */
	bool mapped_behind;
};

struct inode {
	struct mutex lock;
	uint64_t ino;
	uint64_t shown;       /* st_ino (numbers.h) */
	struct inode *parent; /* a reference; NULL for the root */
	/* owned; NULL: none. Made under `names` and read under either lock; its members have locks
	 * of their own. */
	struct inode_extra *_Atomic extra;
	const char *name;           /* owned; "" for the root */
	uint32_t index, generation; /* inode_id() */
	uint64_t nlookup;   /* the kernel's lookup count; under the table's lock, as the next */
	uint32_t refs;      /* ours */
	_Atomic bool alive; /* the slot is in use: set last, cleared first */
	bool outlived;      /* twin_outlived(); under the table's lock, as the next */
	bool overcounted;   /* nlookup may be too high (doubt.h) */

	uint32_t type; /* S_IFMT of the mode: never changes, as rdev */
	uint32_t rdev;
	/* As reported, under `lock`, but nlink */
	uint32_t mode, uid, gid;
	_Atomic uint32_t nlink;
	uint64_t size;
	int64_t mtime_ns;
	uint64_t version; /* source_version of its data when it was last open, or
	                   * complete; 0: unknown. Under `lock` */

	/* Made when first needed; under `lock`. */
	union {
		struct directory *directory; /* S_ISDIR: a reference, until the inode goes */
		struct content *content;     /* S_ISREG: not counted; exists while open (cached) or
		                              * while data is under way, and holds the inode */
	};
	union {
		struct {                       /* S_ISREG: I/O mode (iomode.h) */
			GList *backing_link;   /* in backing's queue of kept ids */
			int32_t backing_id;    /* 0 = none; one per inode (backing.h) */
			int32_t backing_errno; /* of the last failed registration, 0 = none */
		};
		struct walkahead walk; /* S_ISDIR: processes that read its children in turn */
	};
	/* Written under `lock` */
	_Atomic uint32_t handles; /* open in this mode */
	_Atomic uint64_t number;  /* content_number() when it was last open; 0: never */
	uint32_t passes;          /* number of opens in passthrough; under `lock` */
	_Atomic uint32_t opening; /* opens under way, and other visitors (claim.h) */
	enum claimed { UNCLAIMED, CLAIMED, CLAIMED_COUNTED } claimed; /* claim.h */
	uint8_t iomode;                                               /* enum iomode_kind */
	uint8_t resend_size; /* replies with its attributes until the kernel surely has its size */
	bool complete : 1;   /* complete and trusted, also while content is NULL */
	bool keep_cache : 1; /* the kernel's pages are of this version */
	bool cached : 1;     /* it was opened in cached mode: the kernel may have pages */
	bool ahead : 1;      /* its data was fetched before a read: the walk continues */
	bool behind : 1;     /* writable mappings may exist in passthrough, without a handle */
	bool outdated : 1;   /* the listing has a newer version */
	bool revived : 1;    /* of before a takeover: the store may know more (inode_revive()) */
	bool unlisted : 1;   /* a directory of before a takeover: its listing is to be loaded */
	bool walked : 1;     /* the kernel may have a copy of its names (walked.h) */
	bool hashed; /* found by st_ino; under the table's lock: no bit field, as those below */
	/* Read without a lock; each is written under one: local under i->lock, the others under
	 * `names`; hence no bit fields, where a write touches its neighbours */
	_Atomic bool local; /* the local object takes precedence: attributes are its own */
	_Atomic bool born;  /* fully local: no data comes from the remote any more, or ever did */
	_Atomic bool mixed; /* of a file: some chunks are remote, others local */
	_Atomic bool nameless; /* it has no name any more, or none yet */
	_Atomic bool counted;  /* nlink of a directory counts its subdirectories */
	_Atomic bool indexed;  /* has remote names that the store may not have: found by st_ino */
};
