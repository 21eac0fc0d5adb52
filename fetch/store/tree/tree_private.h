/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What the files of the local tree share: tree.c (what is there), tree_make.c, tree_keep.c
 * (what the source had), tree_move.c (names), tree_links.c, clear.c (what does not count goes),
 * tree_attr.c. */
#pragma once
#include "fetch/store/object/object_private.h"
#include "fetch/store/tree/tree.h"

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

/* tree_make.c */
/* Without owner and attributes. */
int make_at(struct store *s, const struct place *p, const struct tree_maker *m);
/* A name for what is made aside; place_close(). */
int temporary_open(struct store *s, struct place *p, char path[40]);
/* From where it was made to the name at which it counts. -EEXIST: something counts there. */
int move_in(struct store *s, const struct place *from, const struct place *to, const char *path);

/* tree_links.c: before a name of it goes. */
int links_settle(const struct place *p);

/* tree_move.c: nobody has them any more. */
void tree_unlinked_sweep(struct store *s);
