/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Names of the local tree that count whatever the source tells: what was made or changed
 * here, and which remote names are gone; format.h says what lies where.
 *
 *      remote only ──keep──▶ kept (a local object that follows its remote) ──▶ local
 *           └────────────gone (a mark beside the tree)
 *
 * Shape:   a local object without a record was made here. One with a record that is kept
 *          counts; any other is a copy of what the listing tells, or leftovers
 * Order:   every step is one metadata operation of one file system, and whatever a crash
 *          leaves between two is one of the two states: a name is marked as gone first and
 *          its object removed afterwards; an object counts even where its name is marked
 * Paths:   as in store.h; "/unlinked/N" is a file that has no name any more
 * Locking: any thread; who changes a directory holds it (the kernel does)
 * Errors:  0 or -errno
 */
#pragma once
#include <sys/stat.h>
#include "fetch/store/object/object.h"

enum tree_kind {
	TREE_CACHE, /* nothing, or nothing that counts */
	TREE_KEPT,  /* follows a remote object still */
	TREE_LOCAL, /* made here, or nothing remote is left of it */
};

struct tree_node {
	enum tree_kind kind;
	struct stat st;    /* as reported: owner, mode, device, size, times; st_ino too */
	char *remote;      /* owned; the remote path of what is kept; else NULL */
	uint32_t seals;    /* of a file; tree_seals_set() */
	bool mixed;        /* of a file, some bytes are the remote's, others ours */
	bool indexed;      /* a file of several remote names: /links/… is one of it */
	int64_t looked_ns; /* CLOCK_MONOTONIC, before it was looked at */
};

void tree_node_clear(struct tree_node *n);
/* -ENOENT: nothing that counts. */
int tree_look(struct store *s, const char *path, struct tree_node *out);

/* Every name of a directory that counts, and every one that is gone. `dir`: its st_ino. */
int tree_scan(struct store *s, const char *path, uint64_t dir,
              void (*found)(void *user, const char *name, uint32_t type),
              void (*gone)(void *user, const char *name), void *user);
int tree_gone_add(struct store *s, uint64_t dir, const char *name);
/* Of a directory that went. */
void tree_gone_forget(struct store *s, uint64_t dir);

/* Who makes something, and as what. The thread, whose umask that becomes meanwhile, has its own. */
struct tree_maker {
	uint32_t uid, gid, umask;
	uint32_t mode; /* S_IFMT and permissions */
	uint32_t rdev; /* Linux's 32-bit encoding, of devices */
	const char *target;
};
/* All but regular files. -EEXIST. */
int tree_make(struct store *s, const char *path, const struct tree_maker *m);
/* A descriptor, O_RDWR. */
int tree_make_file(struct store *s, const char *path, const struct tree_maker *m);
/* Without a name, as made in the directory `path` (NULL: in none): it is /unlinked/`number` until
 * tree_link(). A descriptor. */
int tree_make_nameless(struct store *s, const char *path, const struct tree_maker *m,
                       uint64_t *number);

/* Makes the remote object, no regular file, a local one that counts. Nothing where it counts
 * already. `o`: as listed. */
int tree_keep(struct store *s, const char *path, const struct store_kept *k,
              const struct store_origin *o, const char *target, uint32_t rdev);

/* What is replaced has nothing that counts in it where it is a directory (-ENOTEMPTY); its marks of
 * what is gone: tree_gone_forget(). RENAME_WHITEOUT: a device 0:0, which counts, has the old name
 * then; -EINVAL where the file system has none. */
int tree_rename(struct store *s, const char *from, const char *to, unsigned flags);
int tree_link(struct store *s, const char *from, const char *to);
/* The name goes. `number` > 0: the file is still in use, and is /unlinked/`number` then. */
int tree_unlink(struct store *s, const char *path, uint64_t number);
/* The file is /unlinked/`number`, too: its name is about to be given to another. */
int tree_aside(struct store *s, const char *path, uint64_t number);
/* A directory in which nothing counts (-ENOTEMPTY); leftovers go with it. */
int tree_rmdir(struct store *s, const char *path, uint64_t dir);
/* 0: nothing below counts. -ENOTEMPTY. */
int tree_clears(struct store *s, const char *path);
/* Removes the copies in a directory, and all below, whose names are not `visible` in it; not what
 * counts, and not a file that is `in_use` (its path). *freed: bytes are added. */
struct tree_sweeping {
	bool (*visible)(void *user, const char *name, uint32_t type);
	bool (*in_use)(void *user, const char *path);
	void *user;
};
int tree_sweep(struct store *s, const char *path, const struct tree_sweeping *w, uint64_t *freed);
int tree_orphan_drop(struct store *s, uint64_t number);
uint64_t tree_number(struct store *s);

/* Attributes of what counts. `times`: UTIME_OMIT, UTIME_NOW as utimensat(2). */
/* Permissions and owner at once, what is UINT32_MAX stays. */
int tree_own(struct store *s, const char *path, uint32_t mode, uint32_t uid, uint32_t gid);
int tree_utimens(struct store *s, const char *path, const struct timespec times[2]);
/* The descriptor of what counts, for all else. Never follows a symlink. */
int tree_open(struct store *s, const char *path, int flags);
/* The file is all local: what security.capability it had is its own from here on. */
int tree_capability_own(struct store *s, const char *path);
/* links.c. The remote name `path` of a file with several, in the tree, too. 0 where it is. */
int tree_materialise(struct store *s, const char *path, uint64_t ino);
/* Its last name went. */
int tree_index_drop(struct store *s, uint64_t ino);
/* Durable on return. */
int tree_seals_set(struct store *s, const char *path, uint32_t seals);
/* stx_mask says what there is. */
void tree_statx(struct store *s, const char *path, struct statx *out);
ssize_t tree_readlink(struct store *s, const char *path, char *target, size_t size);
/* xattrs: as lgetxattr(2) and its like; the store's own are not there. */
ssize_t tree_getxattr(struct store *s, const char *path, const char *name, void *value,
                      size_t size);
ssize_t tree_listxattr(struct store *s, const char *path, char *names, size_t size);
int tree_setxattr(struct store *s, const char *path, const char *name, const void *value,
                  size_t size, int flags);
int tree_removexattr(struct store *s, const char *path, const char *name);
