/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Ways: paths in the store that stay valid while they are used. Moves: changes of names in the
 * store. A rename between the making of a path and the call that uses it would make that call
 * find another file, or none; a path made between the change in the store and the one in names.h
 * would miss the file.
 *
 *     way:   begins ── calls of the store by it ── way_end()
 *     move:  move_begin() ── call of the store ── change under `names` ── move_end()
 *
 * A way and a move wait for each other only where the way leads to, or through, a moved object: a
 * disk that stalls in a rename stalls the users of that object, and other moves. An answer from
 * memory needs no way.
 * Shape:   one move at a time; any number of ways
 * Waits:   a move that has not begun blocks no way: the thread that has one may wait for a thread
 *          that needs another to the same object (content_keep()). A thread takes no way in a move
 *          and begins no move while it has a way; it ends each itself
 * Locking: `lock` for a moment each, then `names`; none is held from begin to end. Called without
 *          `names`, the inode table's lock or an inode's: RANK_WAY in fetch/base/lock.h
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct inode;
struct server;
struct ways;

struct way {
	char *path;            /* owned; in the store, as inode_path_known() */
	const struct inode *i; /* the inode it leads to; NULL: any that has the name */
	GList link;
};

/* Set by the caller: the moved inodes, `i` and perhaps `other`; a name goes, comes or changes: from
 * `dir`/`name` to `newdir`/`newname`. `dir` NULL: from the path of `i`. */
struct move {
	struct inode *i, *other, *dir, *newdir;
	const char *name, *newname;
	char *from, *to; /* move_begin(): paths in the store; `to` NULL: there is none */
};

struct ways *ways_new(void);
void ways_free(struct ways *w);

/* Every way must be ended. */
void way_to(struct server *s, const struct inode *i, struct way *w);
/* `i`: the inode known by that name; may be NULL. */
void way_to_child(struct server *s, const struct inode *dir, const char *name,
                  const struct inode *i, struct way *w);
void way_end(struct server *s, struct way *w);
/* As way_to(), for callers that can tell afterwards whether the inode was moved. Caller frees. */
char *way_path(struct server *s, const struct inode *i);

void move_begin(struct server *s, struct move *m);
void move_end(struct server *s, struct move *m);
