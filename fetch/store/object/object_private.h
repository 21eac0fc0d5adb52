/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What the files of a local object share: find.c (what lies at a path), name.c (its names in the
 * tree), shared.c (who has it open), place.c, owner.c (what the daemon may not set), origin.c (what
 * it was made from), links.c, mark.c, xattrs.c, orphans.c.
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
#include "fetch/store/disk/store_private.h"
#include "fetch/store/object/map.h"
#include "fetch/store/object/object.h"
#include "fetch/store/object/record.h"

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

/* A path through a descriptor, for calls that take no directory. */
#define PROC_PATH_MAX 300

/* place.c */
struct place {
	int dir; /* O_PATH, owned */
	const char *name;
	char proc[PROC_PATH_MAX]; /* the same as one path */
};

/* Where `path` is; "." of the tree for "". place_close() only after success. */
int place_open(struct store *s, const char *path, struct place *out);
/* Makes the directories on the way. */
int place_make(struct store *s, const char *path, struct place *out);
void place_close(struct place *p);
/* `name` in `dir`, both borrowed. */
void place_at(int dir, const char *name, struct place *out);
/* As lgetxattr(2), llistxattr(2). */
ssize_t place_getxattr(const struct place *p, const char *name, void *value, size_t size);
ssize_t place_listxattr(const struct place *p, char *list, size_t size);

struct xattr_names {
	ssize_t length; /* < 0: too many to tell */
	char list[256];
};

void place_names(const struct place *p, struct xattr_names *out);
/* Or may it have it? */
bool xattr_names_have(const struct xattr_names *names, const char *name);
/* owner.c: may the daemon make local objects what they are reported as? */
bool owner_privileged(void);

/* owner.c: replaces what of `st` could not be set on the object itself. `st`: of the local one */
void owner_read(struct store *s, const struct place *p, struct stat *st);
/* Is the file there for what is none? */
bool owner_stands_in(const struct place *p);
/* Of a file of an earlier version: set-id bits go from the object to the xattr. */
int owner_mend(struct store *s, const struct place *p, const struct stat *st);
/* Of a file that is about to count. */
int owner_give(struct store *s, int fd, const struct store_origin *o);
/* Of what is neither file nor directory, and went. */
void owner_forget(struct store *s, uint64_t key);
/* Makes mode, owner and device of the object those; `st`: as it is. A symlink has only an
 * owner. */
int owner_set(struct store *s, const struct place *p, struct stat *st, uint32_t mode, uint32_t uid,
              uint32_t gid, uint32_t rdev);

/* origin.c. `id`: of the record or mark; of what can carry none: origin_key(),
 * by which its owner is noted, too */
int origin_key(int dir, const char *name, uint64_t *key);
int origin_write(struct store *s, uint64_t id, uint64_t ino, const char *remote);
/* *remote: owned by the caller. -ENOENT. */
int origin_read(struct store *s, uint64_t id, uint64_t *ino, char **remote);
/* The same, where there is none any more. */
int origin_again(struct store *s, uint64_t id, uint64_t ino, const char *remote);
void origin_remove(struct store *s, uint64_t id);

/* links.c. Of a file whose record is about to say that it is kept: it has `nlink` names. */
int links_begin(int fd, uint32_t nlink);
/* false: not a file of several remote names. st_nlink: as it is, then as reported. */
bool links_count(const struct place *p, struct stat *st);
/* The same as it is in the object; false: it has none. */
bool links_read(const struct place *p, uint32_t *pending, uint32_t *base);
int links_write(const char *proc, uint32_t pending, uint32_t base);

/* xattrs.c */
#define ACL_XATTR "system.posix_acl_access"
/* Ours: neither shown nor touched. */
bool xattr_is_own(const char *name);
/* Only root may set these. */
bool xattr_is_rooted(const char *name);
/* Where it is kept when the daemon may not set it; caller frees. */
char *xattr_hidden(const char *name);
/* What the listing tells, set on what does not count yet. What cannot be had here is left out;
 * -errno where the disk is full or read-only. */
int xattrs_give(struct store *s, int fd, const struct store_kept *k);

/* mark.c. -ENODATA: it has none. */
int mark_read(const struct place *p, struct mark_disk *out);
int mark_write(struct store *s, const char *proc, uint8_t flags, uint64_t id);
