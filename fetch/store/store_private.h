/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What the files of the store share: store.c (one store, opened by one daemon), settings.c
 * (which one), epoch.c, dirs.c (listings), name.c (names in the tree), find.c (what lies
 * there), orphans.c, file.c (a local file), chunk.c (its chunks), keep.c (that it counts),
 * change.c (what is written here), dirty.c (what of that is not durable), evict.c, shared.c (who
 * has it open).
 *
 * Shape:   a local file is nameless (O_TMPFILE) until its first chunk is published: then its
 *          record, its map and its names are made, in this order. So nothing is in the tree
 *          that has nothing present, or that is not bound
 *          Where the name is taken by what is not ours it stays nameless: correct, and
 *          forgotten when it is closed
 * Locking: store_file: changing → writing → lock. `lock` covers what is marked, and is held
 *          across the system calls of rare steps only (first chunk, last chunk, the record)
 */
#pragma once
#include <pthread.h>
#include <sys/stat.h>
#include "fetch/store/epoch.h"
#include "fetch/store/map.h"
#include "fetch/store/record.h"
#include "fetch/store/store.h"

/* Files of which a chunk may be marked dirty in this epoch: state/dirty, and here. */
struct dirty {
	unsigned most;            /* descriptors that are kept */
	pthread_mutex_t flushing; /* one at a time; before `lock` */
	pthread_mutex_t lock;     /* also held while a chunk is marked */
	GHashTable *files;        /* uint64 id of the record → descriptor of the file + 1, or 0 */
};

/* The objects of all local files that are open: one a file. */
struct sharing {
	pthread_mutex_t lock; /* the last of all */
	pthread_cond_t changed;
	GHashTable *files; /* st_ino in the store → struct store_file, borrowed */
};

struct store {
	int fd_most; /* files are open by lower numbers only: short work needs descriptors, too */
	char *path;  /* owned */
	int dir;     /* O_RDONLY, as state; tree and tmp are O_PATH */
	int state, tree, tmp;
	pthread_rwlock_t stamps; /* stamp.h */
	int lock;
	struct epoch epoch;
	struct dirty dirty;
	struct sharing sharing;
	unsigned chunk_shift;
	bool stacked, privileged;
	bool created, fresh; /* by this opening: the directory; the store */
	uint64_t seed;
	/* atomic: */
	uint64_t count;   /* of numbers given out */
	int links;        /* state/links is there */
	int reserved;     /* reserve.c has room */
	int no_tmpfile;   /* the file system has no O_TMPFILE */
	int link_by_proc; /* linkat() takes no descriptor from us */
};

struct store_file {
	struct store *store;
	int fd;
	struct map map;
	uint64_t link_ino;  /* remote identity */
	char *path;         /* owned; where it is to be named */
	uint64_t temporary; /* state/tmp/<n> until it is named; 0 = none */
	bool indexed;       /* has several remote names */
	uint64_t written;   /* atomic: how far store_file_write() came */
	uint64_t settled;   /* atomic: chunks that are present, also on disk */
	int named;          /* atomic: record and map are there */
	int outdated;       /* atomic: the record's epoch is dead */
	int map_fd;         /* set before `named`, -1 where nobody needs it any more */
	uint64_t limit;     /* changed under `writing`: past it all is local */
	bool local;         /* as is this: nothing remote comes in at all */
	bool taken;         /* as is this: it is about to be local, or not */
	/* One changes it at a time, across its disk I/O; who brings what is remote never waits for
	 * that */
	pthread_mutex_t changing;
	/* Read by who brings what is remote, written by who writes here; not held across an fsync
	 */
	pthread_rwlock_t writing; /* after `changing` */
	pthread_mutex_t lock;     /* after `writing` */
	struct record record;     /* flags, epoch, hash under lock; the rest fixed */
	ino_t shared_ino;         /* 0: it is in no table */
	/* Under the table's lock: */
	unsigned users; /* it is closed by the last one */
	bool busy;      /* it is being loaded, or evicted: who opens it waits */
};

/* A number nobody else has, > 0: ids, temporary names. */
uint64_t store_number(struct store *s);

/* settings.c: `state`/settings. ENOENT in `error`: there is none. */
bool store_settings_load(int state, const char *store, struct store_settings *s, GError **error);
/* The same, of its text. */
bool store_settings_parse(const char *store, const char *text, size_t length,
                          struct store_settings *s, GError **error);
bool store_settings_save(int state, const char *store, const struct store_settings *s,
                         GError **error);

/* find.c: what lies at a path. */
struct found {
	int fd;       /* O_RDONLY */
	int dir;      /* borrowed: tree or state */
	char *path;   /* owned; in `dir` */
	bool by_link; /* not at its path in the tree, but at another */
	struct stat st;
	struct record record;
};
/* -ENOENT: nothing, or nothing of ours. -ESTALE: ours, but not bound: dir and path are set,
 * no descriptor. Clear it in any case. */
int find_file(struct store *s, const char *path, uint64_t ino, struct found *out);
/* The same of what it found: what it says now. */
int found_again(const struct store *s, struct found *f);
void found_clear(struct found *f);
bool record_is_dead(const struct store *s, const struct record *r);

/* name.c */
/* The directory of the last name of `path` in the tree, made where it is not there; *name: into
 * `path`. */
int name_place(struct store *s, const char *path, const char **name);
/* Gives `fd` (state/tmp/<temporary>, if not 0) its name in the tree, and at links/<ino> if not
 * 0. 0 also where the name is taken by what is not ours. */
int name_give(struct store *s, int fd, uint64_t temporary, const char *path, uint64_t ino);
/* Another name in the tree for links/<ino>. */
int name_add(struct store *s, uint64_t ino, const char *path);
/* Removes the name at `path` of `dir`, if it is that of the file `ino`. */
int name_remove(struct store *s, int dir, const char *path, ino_t ino);
/* Moves what is at `path` of `dir` to orphans. */
int name_set_aside(struct store *s, int dir, const char *path);

/* orphans.c: removes those that hold nothing but fetched bytes. */
void orphans_sweep(struct store *s);

/* owner.c: may the daemon make local objects what they are reported as? */
bool owner_privileged(void);

/* tree_move.c: nobody has them any more. */
void tree_unlinked_sweep(struct store *s);

/* shared.c */
void shared_init(struct sharing *h);
void shared_clear(struct sharing *h);
/* The object that the file `ino` has already, with a user more; else `f`, which it has from now on,
 * busy until shared_give_back(). */
struct store_file *shared_enter(struct store_file *f, ino_t ino);
/* `f` was just made. */
void shared_add(struct store_file *f, ino_t ino);
/* One user less; true: that was the last. */
bool shared_leave(struct store_file *f);
/* Busy, until shared_give_back(), where the caller is its only user; false: he is not. */
bool shared_take(struct store_file *f);
void shared_give_back(struct store_file *f);
/* Until nobody is busy with it; true: somebody was. */
bool shared_wait(struct store *s, ino_t ino);

/* evict.c: the descriptor is, though it was opened whole. */
int file_writable(struct store_file *f);

/* keep.c, under `changing`: every byte is here, or just was written (`covered`), and is on the disk
 * before the record says that it is ours; `durable`: the record, too. -EAGAIN: not every byte. */
int file_localise(struct store_file *f, bool covered, bool durable);
/* One chunk that is not here: nothing, of the size that the remote one has. */
void file_uncut(struct store_file *f);

/* change.c: before a change of what follows the remote. */
int file_change_begin(struct store_file *f);
/* Of a file with a map. Under `writing`. */
int file_truncate_locked(struct store_file *f, uint64_t size);

/* chunk.c: under lock. */
/* The local file's time is the record's. */
int file_stamp_locked(struct store_file *f);
/* The last chunk is in. */
int file_finish_locked(struct store_file *f);
/* After that all is present for everybody. */
void file_shut_map_locked(struct store_file *f);
/* The record as it is with these flags and this hash, in the store's epoch. */
int file_record_locked(struct store_file *f, uint8_t flags, uint64_t hash);
/* The same, while chunks may be in doubt. */
int file_record_again_locked(struct store_file *f, uint8_t flags);
/* Record, map and names are made, if they are not. */
int file_establish_locked(struct store_file *f, uint8_t flags);
/* The map is open. */
int file_map_locked(struct store_file *f);

/* dirty.c */
void dirty_init(struct store *s);
/* Which they were when the last daemon ended. */
int dirty_open(struct store *s);
void dirty_close(struct store *s);
/* Marks `chunk` as about to be written in this epoch; `keep`: its hash. The map is open. */
int dirty_mark(struct store_file *f, uint64_t chunk, bool keep);
