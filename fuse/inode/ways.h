/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Ways: paths in the store that are true for as long as somebody uses them. Moves: changes of what
 * is where. A rename between the making of a path and the call that it is for would have that call
 * find another file, or none; who makes a path between the store's change and that of names.h would
 * miss the file.
 *
 *     way:   begins ── calls of the store by it ── way_end()
 *     move:  move_begin() ── call of the store ── change under `names` ── move_end()
 *
 * Either waits for the other only where the way is to, or leads through, what is moved: a disk that
 * stalls in a rename stalls who needs the very thing, and other moves. What is answered from memory
 * needs no way.
 * Shape:   one move at a time; any number of ways
 * Waits:   a move that has not begun keeps no way from beginning: who has one may wait for somebody
 *          who needs another to the same thing (content_keep()). Who moves needs no way meanwhile
 * Locking: `lock` for a moment each, then `names`; none is held from begin to end. Called without
 *          `names`, the inode table's lock or an inode's
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct inode;
struct server;
struct ways;

struct way {
	char *path;            /* owned; in the store, as inode_path_known() */
	const struct inode *i; /* what it is to; NULL: whatever has the name */
	GList link;
};

/* What is moved, set by the caller: `i` and, if there is one, `other`; a name goes, comes or
 * changes: from `dir`/`name`, to `newdir`/`newname`. Without a `dir`: from where `i` is. */
struct move {
	struct inode *i, *other, *dir, *newdir;
	const char *name, *newname;
	char *from, *to; /* move_begin(): paths in the store; `to` NULL: there is none */
};

struct ways *ways_new(void);
void ways_free(struct ways *w);

/* To be ended, each. */
void way_to(struct server *s, const struct inode *i, struct way *w);
/* `i`, which may be NULL, is what is known to have the name. */
void way_to_child(struct server *s, const struct inode *dir, const char *name,
                  const struct inode *i, struct way *w);
void way_end(struct server *s, struct way *w);
/* As way_to(), for who has other means to tell that it was moved afterwards. Caller frees. */
char *way_path(struct server *s, const struct inode *i);

void move_begin(struct server *s, struct move *m);
void move_end(struct server *s, struct move *m);
