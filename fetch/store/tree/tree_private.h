/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by the files of the local tree: tree.c (looking), tree_make.c (new objects), tree_keep.c
 * (remote objects), tree_move.c (names), tree_links.c, clear.c (removal of leftovers),
 * tree_attr.c. */
#pragma once
#include "fetch/store/object/object_private.h"
#include "fetch/store/tree/tree.h"

/* tree.c: as tree_look(). */
int place_look(struct store *s, const struct place *p, struct tree_node *out);

/* clear.c */
/* State to remove with the last name of a file, or with an object that is no directory. */
struct last {
	bool file, other;
	struct record record;
	uint64_t key; /* of its origin */
};
/* Before the name is removed. -errno: what it is is unknown, and it has to stay. */
int last_look(const struct place *p, struct last *out);
void last_forget(struct store *s, const struct last *l); /* after it was */
/* Removes everything below, or only looks. -ENOTEMPTY: an entry is no leftover, and stays. */
int clear_below(struct store *s, const struct place *p, bool remove);
/* Removes the directory and its leftovers; 0 where it does not exist. -ENOTEMPTY as above. */
int place_rmdir(struct store *s, const struct place *p, uint64_t dir);
/* Sets aside a file whose record, or origin, is damaged. */
int place_set_aside(struct store *s, const struct place *p);
/* Removes a leftover at the name. -EEXIST: the object is none. */
int place_clear(struct store *s, const struct place *p, const char *path);

/* tree_make.c */
/* Without owner and attributes. */
int make_at(struct store *s, const struct place *p, const struct tree_maker *m);
/* A temporary name for a new object; place_close(). */
int temporary_open(struct store *s, struct place *p, char path[40]);
/* Moves a new object from its temporary name to its final one. -EEXIST: the name has an object that
 * is no leftover. */
int move_in(struct store *s, const struct place *from, const struct place *to, const char *path);

/* tree_links.c: before a name of it is removed. */
int links_settle(const struct place *p);

/* tree_move.c: empties /unlinked when the store is opened. */
void tree_unlinked_sweep(struct store *s);
