/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The members of a store, for its files. */
#pragma once
#include <sys/stat.h>
#include "fetch/base/lock.h"
#include "fetch/store/disk/epoch.h"
#include "fetch/store/disk/store.h"

/* Files with chunks that may be marked dirty in this epoch: in state/dirty, and in memory. */
struct dirty {
	unsigned most;         /* maximum of open descriptors */
	struct mutex flushing; /* one at a time */
	struct mutex lock;     /* also held while a chunk is marked */
	GHashTable *files;     /* uint64 id of the record → descriptor of the file + 1, or 0 */
};

/* The objects of all open local files: one per file. */
struct sharing {
	struct mutex lock;
	struct condition changed;
	GHashTable *files;  /* st_ino in the store → struct store_file, borrowed */
	GHashTable *visits; /* st_ino → number of visits, never 0 */
};

/* space.c */
struct space {
	/* fixed before the first fetch: space.h */
	uint64_t quota, min_free;
	unsigned percent;
	bool automatic;
	/* atomic: */
	int64_t step; /* bytes that may be stored before the next look at the file system */
	uint64_t used, fetched;
	bool known;
};

/* lru.c */
struct lru {
	struct mutex lock;
	GHashTable *times; /* st_ino in the store → seconds since 1970 */
	bool changed;      /* since it was saved */
};

/* pins.c */
struct pins {
	struct mutex lock;
	GHashTable *inos; /* set of st_ino in the mount */
};

struct store {
	int fd_most; /* open files have lower numbers only, to leave descriptors for short tasks */
	char *path;  /* owned */
	int dir;     /* O_RDONLY, as state; tree and tmp are O_PATH */
	int state, tree, tmp;
	struct rwlock stamps; /* stamp.h */
	int lock;
	struct epoch epoch;
	struct dirty dirty;
	struct sharing sharing;
	struct space space;
	struct lru lru;
	struct pins pins;
	unsigned chunk_shift;
	bool stacked, privileged;
	bool created, fresh; /* this opening created the directory; the store */
	uint64_t seed;
	/* atomic: */
	uint64_t count;   /* of numbers given out */
	int links;        /* state/links exists */
	int reserved;     /* reserve.c holds space */
	int no_tmpfile;   /* the file system has no O_TMPFILE */
	int link_by_proc; /* linkat() by descriptor is not permitted */
};

/* A unique number, > 0: ids, temporary names. */
uint64_t store_number(struct store *s);
