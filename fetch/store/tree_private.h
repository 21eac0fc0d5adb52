/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What the files of the local tree share: tree.c (what is there), tree_make.c, tree_move.c
 * (names), clear.c (what does not count goes), tree_attr.c, owner.c (what the daemon may not set),
 * origin.c. */
#pragma once
#include "fetch/store/store_private.h"
#include "fetch/store/tree.h"

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
/* tree.c: as tree_look(). */
int place_look(struct store *s, const struct place *p, struct tree_node *out);

/* clear.c */
/* What goes with the last name of a file, or with anything that is no directory. */
struct last {
	bool file, other;
	struct record record;
	uint64_t key; /* of its origin */
};
void last_look(const struct place *p, struct last *out); /* before the name goes */
void last_forget(struct store *s, const struct last *l); /* after it went */
/* Removes all that is below, or only looks. -ENOTEMPTY: something of it counts, and stays. */
int clear_below(struct store *s, const struct place *p, bool remove);
/* The directory and what is left in it; 0 where it is not there. -ENOTEMPTY as above. */
int place_rmdir(struct store *s, const struct place *p, uint64_t dir);
/* A file of which nothing can be told: its record is damaged, or what it was made from. */
int place_set_aside(struct store *s, const struct place *p);
/* Removes a leftover that does not count from the name. -EEXIST: it counts. */
int place_clear(struct store *s, const struct place *p, const char *path);

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
/* Before a name of it goes. */
int links_settle(const struct place *p);

/* What the listing tells, set on what does not count yet. What cannot be had here is left out;
 * -errno where the disk is full or read-only. */
int xattrs_give(struct store *s, int fd, const struct store_kept *k);

/* -ENODATA: it has none. */
int mark_read(const struct place *p, struct mark_disk *out);
int mark_write(struct store *s, const char *proc, uint8_t flags, uint64_t id);
