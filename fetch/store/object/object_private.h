/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by the files of a local object: find.c (the object at a path), name.c (its names in the
 * tree), shared.c (its users), place.c, owner.c (attributes the daemon may not set), origin.c (its
 * remote object), links.c, mark.c, xattrs.c, orphans.c.
 *
 * Shape:   a local file is nameless (O_TMPFILE) until its first chunk is published: then its
 *          record, its map and its names are made, in this order. So every file in the tree
 *          has a present chunk and is bound
 *          If a foreign object has the name the file stays nameless: correct, and
 *          lost when it is closed
 * Locking: store_file: changing → writing → lock. `lock` covers the marked members, and is held
 *          across the system calls of rare steps only (first chunk, last chunk, the record)
 */
#pragma once
#include "fetch/base/lock.h"
#include "fetch/store/disk/store_private.h"
#include "fetch/store/object/map.h"
#include "fetch/store/object/object.h"
#include "fetch/store/object/record.h"

struct store_file {
	struct store *store;
	int fd;
	struct map map;
	uint64_t link_ino;  /* remote identity */
	char *path;         /* owned; of its name, existing or not */
	uint64_t temporary; /* state/tmp/<n> until it is named; 0 = none */
	bool indexed;       /* has several remote names */
	uint64_t written;   /* atomic: end of the data of store_file_write() */
	uint64_t settled;   /* atomic: chunks that are present, also on disk */
	int named;          /* atomic: record and map exist */
	int outdated;       /* atomic: the record's epoch is dead */
	int map_fd;         /* set before `named`, -1 once it is not needed any more */
	uint64_t limit;     /* changed under `writing`: past it all data is local */
	bool local;         /* as `limit`: no remote data is accepted */
	bool taken;         /* as `limit`: the file is about to become local, or not */
	/* One change at a time, across its disk I/O; transfers of remote data never wait for it */
	struct mutex changing;
	/* Read-locked by transfers of remote data, write-locked by local writes; not held across an
	 * fsync */
	struct rwlock writing;
	struct mutex lock;
	struct record record; /* flags, epoch, hash under lock; the rest fixed */
	ino_t shared_ino;     /* 0: not in the table */
	/* Under the table's lock: */
	unsigned users; /* the last one closes it */
	bool busy;      /* being loaded or evicted: opens wait */
};

/* find.c: the object at a path. */
struct found {
	int fd;       /* O_RDONLY */
	int dir;      /* borrowed: tree or state */
	char *path;   /* owned; in `dir` */
	bool by_link; /* found in the hard-link index, not at its path in the tree */
	struct stat st;
	struct record record;
};
/* -ENOENT: no file with a record. -ESTALE: a record, but not bound: dir and path are set,
 * no descriptor. Clear it in any case. */
int find_file(struct store *s, const char *path, uint64_t ino, struct found *out);
/* Reads record and attributes of a found file again. */
int found_again(const struct store *s, struct found *f);
void found_clear(struct found *f);
bool record_is_dead(const struct store *s, const struct record *r);

/* name.c */
/* The parent directory of `path` in the tree, or of "/path" in state, created if it is missing;
 * *name: into `path`. */
int name_place(struct store *s, const char *path, const char **name);
/* Gives `fd` (state/tmp/<temporary>, if not 0) its name in the tree, and at links/<ino> if not
 * 0. 0 also if a foreign object has the name. */
int name_give(struct store *s, int fd, uint64_t temporary, const char *path, uint64_t ino);
/* Another name in the tree for links/<ino>. */
int name_add(struct store *s, uint64_t ino, const char *path);
/* Removes the name at `path` of `dir`, if it is that of the file `ino`. */
int name_remove(struct store *s, int dir, const char *path, ino_t ino);
/* Moves the object at `path` of `dir` to orphans. */
int name_set_aside(struct store *s, int dir, const char *path);

/* orphans.c: removes those that hold only fetched data. */
void orphans_sweep(struct store *s);

/* shared.c */
void shared_init(struct sharing *h);
void shared_clear(struct sharing *h);
/* The existing object of the file `ino`, with one user more; else `f`, which becomes its object,
 * busy until shared_give_back(). */
struct store_file *shared_enter(struct store_file *f, ino_t ino);
/* `f` was just made. */
void shared_add(struct store_file *f, ino_t ino);
/* Removes a user; true: it was the last. */
bool shared_leave(struct store_file *f);
/* Makes `f` busy until shared_give_back(), if the caller is its only user; false: it is not. */
bool shared_take(struct store_file *f);
void shared_give_back(struct store_file *f);
/* Waits until the file is not busy; true: it was. */
bool shared_wait(struct store *s, ino_t ino);

/* A path through a descriptor, for calls that take no directory. */
#define PROC_PATH_MAX 300

/* place.c */
struct place {
	int dir; /* O_PATH, owned */
	const char *name;
	char proc[PROC_PATH_MAX]; /* the same as one path */
};

/* The place of `path`; "." of the tree for "". place_close() only after success. */
int place_open(struct store *s, const char *path, struct place *out);
/* Makes the directories on the way. */
int place_make(struct store *s, const char *path, struct place *out);
void place_close(struct place *p);
/* `name` in `dir`, both borrowed. */
void place_at(int dir, const char *name, struct place *out);
/* As lgetxattr(2), llistxattr(2). */
ssize_t place_getxattr(const struct place *p, const char *name, void *value, size_t size);
ssize_t place_listxattr(const struct place *p, char *list, size_t size);

/* Does a failed read of an xattr tell that there is none of ours? EACCES: without privileges the
 * daemon has its xattrs only on objects that it may read; a umask or an ACL may have left others.
 */
bool xattr_is_absent(int error);
/* 1: `value` has the xattr; 0: there is none, or one of another size; or -errno. */
int place_xattr(const struct place *p, const char *name, void *value, size_t size);

struct xattr_names {
	ssize_t length; /* < 0: too many names, or an error */
	char list[256];
};

void place_names(const struct place *p, struct xattr_names *out);
/* true also if the names are unknown. */
bool xattr_names_have(const struct xattr_names *names, const char *name);
/* owner.c: may the daemon give local objects the attributes they are reported with? */
bool owner_privileged(void);

/* owner.c: replaces the members of `st` that could not be set on the local object */
int owner_read(struct store *s, const struct place *p, struct stat *st);
/* Is the file a stand-in for another type of object? 1, 0 or -errno. */
int owner_stands_in(const struct place *p);
/* Of a file of an earlier version: set-id bits go from the object to the xattr. */
int owner_mend(struct store *s, const struct place *p, const struct stat *st);
/* For a file that is about to become kept. */
int owner_give(struct store *s, int fd, const struct store_origin *o);
/* For an object that is neither file nor directory, after its removal. */
void owner_forget(struct store *s, uint64_t key);
/* Sets mode, owner and device of the object; `st`: its current state. A symlink has only an
 * owner. */
int owner_set(struct store *s, const struct place *p, struct stat *st, uint32_t mode, uint32_t uid,
              uint32_t gid, uint32_t rdev);

/* origin.c. `id`: of the record or mark; for an object that can have neither: origin_key(),
 * which is also the key of its owner */
int origin_key(int dir, const char *name, uint64_t *key);
int origin_write(struct store *s, uint64_t id, uint64_t ino, const char *remote);
/* *remote: owned by the caller. -ENOENT; -EUCLEAN: damaged, or that of another object. */
int origin_read(struct store *s, uint64_t id, uint64_t *ino, char **remote);
/* origin_write(), if the origin is missing. */
int origin_again(struct store *s, uint64_t id, uint64_t ino, const char *remote);
void origin_remove(struct store *s, uint64_t id);

/* links.c. For a file that is about to become kept: it has `nlink` names. */
int links_begin(int fd, uint32_t nlink);
/* 0: not a file of several remote names; 1: it is; or -errno. st_nlink: as it is, then as
 * reported. */
int links_count(const struct place *p, struct stat *st);
/* 1: the counts stored on the object; 0: none; or -errno. */
int links_read(const struct place *p, uint32_t *pending, uint32_t *base);
int links_write(const char *proc, uint32_t pending, uint32_t base);

/* xattrs.c */
#define ACL_XATTR "system.posix_acl_access"
/* Ours: neither shown nor touched. */
bool xattr_is_own(const char *name);
/* Only root may set these. */
bool xattr_is_rooted(const char *name);
/* The name under which it is stored when the daemon may not set it; caller frees. */
char *xattr_hidden(const char *name);
/* Sets the listed xattrs on an object that is about to become kept. Unsupported ones are left out;
 * -errno where the disk is full or read-only. */
int xattrs_give(struct store *s, int fd, const struct store_kept *k);

/* mark.c. -ENODATA: it has none. */
int mark_read(const struct place *p, struct mark_disk *out);
int mark_write(struct store *s, const char *proc, uint8_t flags, uint64_t id);
