/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The local tree: objects that were created or changed locally and take precedence over the
 * source, and remote names that are gone; format.h has the layout.
 *
 *      remote only ──keep──▶ kept (a local object that follows its remote) ──▶ local
 *           └────────────gone (a mark beside the tree)
 *
 * Shape:   a local object without a record was created locally. An object whose record says kept
 *          takes precedence, too; any other is a copy of the listed file, or a leftover
 * Order:   every step is one metadata operation of one file system, and a crash
 *          between two leaves one of the two states: a name is marked as gone first and
 *          its object removed afterwards; a local object takes precedence over the mark
 * Paths:   as in store.h; "/unlinked/N" is a file without a name
 * Locking: any thread; the kernel locks a directory while it is changed
 * Errors:  0 or -errno
 */
#pragma once
#include <sys/stat.h>
#include "fetch/store/object/object.h"

enum tree_kind {
	TREE_CACHE, /* no object, or a mere copy */
	TREE_KEPT,  /* still follows a remote object */
	TREE_LOCAL, /* created locally, or fully local by now */
};

struct tree_node {
	enum tree_kind kind;
	struct stat st;    /* as reported: owner, mode, device, size, times; st_ino too */
	char *remote;      /* owned; the remote path of a kept object; else NULL */
	uint32_t seals;    /* of a file; tree_seals_set() */
	bool mixed;        /* of a file: some chunks are remote, others local */
	bool indexed;      /* a file of several remote names: /links/… is one of it */
	int64_t looked_ns; /* CLOCK_MONOTONIC, before the look */
};

void tree_node_clear(struct tree_node *n);
/* -ENOENT: no kept or local object. */
int tree_look(struct store *s, const char *path, struct tree_node *out);

/* Every kept or local name of a directory, and every one that is gone. `dir`: its st_ino. */
int tree_scan(struct store *s, const char *path, uint64_t dir,
              void (*found)(void *user, const char *name, uint32_t type),
              void (*gone)(void *user, const char *name), void *user);
int tree_gone_add(struct store *s, uint64_t dir, const char *name);
/* For a removed directory. */
void tree_gone_forget(struct store *s, uint64_t dir);

/* Creator and attributes of a new object. The thread takes this umask meanwhile: it must have an
 * fs_struct of its own. */
struct tree_maker {
	uint32_t uid, gid, umask;
	uint32_t mode; /* S_IFMT and permissions */
	uint32_t rdev; /* Linux's 32-bit encoding, of devices */
	const char *target;
};
/* Creates objects other than regular files. -EEXIST. */
int tree_make(struct store *s, const char *path, const struct tree_maker *m);
/* Creates a regular file. A descriptor, O_RDWR. */
int tree_make_file(struct store *s, const char *path, const struct tree_maker *m);
/* Creates a file without a name, as if in the directory `path` (NULL: none): it is
 * /unlinked/`number` until tree_link(). A descriptor. */
int tree_make_nameless(struct store *s, const char *path, const struct tree_maker *m,
                       uint64_t *number);

/* Makes a remote object other than a regular file a kept local one. No-op if it is one already.
 * `o`: as listed. */
int tree_keep(struct store *s, const char *path, const struct store_kept *k,
              const struct store_origin *o, const char *target, uint32_t rdev);

/* A replaced directory must have no kept or local entries (-ENOTEMPTY); for its marks of gone
 * names: tree_gone_forget(). RENAME_WHITEOUT: a local device 0:0 takes the old name; -EINVAL where
 * the file system lacks it. */
int tree_rename(struct store *s, const char *from, const char *to, unsigned flags);
int tree_link(struct store *s, const char *from, const char *to);
/* Removes the name. `number` > 0: the file is still in use, and becomes /unlinked/`number`. */
int tree_unlink(struct store *s, const char *path, uint64_t number);
/* Links the file to /unlinked/`number`: another object is about to take its name. */
int tree_aside(struct store *s, const char *path, uint64_t number);
/* Removes a directory without kept or local entries (-ENOTEMPTY), leftovers included. */
int tree_rmdir(struct store *s, const char *path, uint64_t dir);
/* 0: no entry below is kept or local. -ENOTEMPTY. */
int tree_clears(struct store *s, const char *path);
/* Removes the copies in a directory, and all below, whose names are not `visible` in it; but no
 * kept or local object, and no file that is `in_use` (its path). *freed: bytes are added. */
struct tree_sweeping {
	bool (*visible)(void *user, const char *name, uint32_t type);
	bool (*in_use)(void *user, const char *path);
	void *user;
};
int tree_sweep(struct store *s, const char *path, const struct tree_sweeping *w, uint64_t *freed);
int tree_orphan_drop(struct store *s, uint64_t number);
/* The numbers that are in use there: of uint64_t, owned. */
GArray *tree_orphans(struct store *s);
uint64_t tree_number(struct store *s);

/* Attributes of a kept or local object. `times`: UTIME_OMIT, UTIME_NOW as utimensat(2). */
/* Permissions and owner at once; UINT32_MAX: unchanged. */
int tree_own(struct store *s, const char *path, uint32_t mode, uint32_t uid, uint32_t gid);
int tree_utimens(struct store *s, const char *path, const struct timespec times[2]);
/* A descriptor of a kept or local object, for other operations. Never follows a symlink. */
int tree_open(struct store *s, const char *path, int flags);
/* The file became fully local: its security.capability moves to the object itself. */
int tree_capability_own(struct store *s, const char *path);
/* links.c. Creates the remote name `path` of a file with several in the tree. 0 if it exists. */
int tree_materialise(struct store *s, const char *path, uint64_t ino);
/* The file's last name was removed. */
int tree_index_drop(struct store *s, uint64_t ino);
/* Durable on return. */
int tree_seals_set(struct store *s, const char *path, uint32_t seals);
/* stx_mask names the valid members. */
void tree_statx(struct store *s, const char *path, struct statx *out);
ssize_t tree_readlink(struct store *s, const char *path, char *target, size_t size);
/* xattrs: as lgetxattr(2) etc.; the store's own are hidden. */
ssize_t tree_getxattr(struct store *s, const char *path, const char *name, void *value,
                      size_t size);
ssize_t tree_listxattr(struct store *s, const char *path, char *names, size_t size);
int tree_setxattr(struct store *s, const char *path, const char *name, const void *value,
                  size_t size, int flags);
int tree_removexattr(struct store *s, const char *path, const char *name);
