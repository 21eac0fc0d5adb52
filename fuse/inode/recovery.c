/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Finishes in memory what the store already has. Runs before references are counted, and before any
 * other thread: names change here without references and without ways. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "fetch/store/tree/tree.h"
#include "fuse/base/area.h"
#include "fuse/inode/departure.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/journal_private.h"
#include "fuse/inode/names.h"
#include "fuse/inode/server.h"

/* The inode number of the store's object of that name; 0: there is none. -errno: it cannot be
 * looked at, so what was begun is not taken for done, and is repeated. */
static int look(struct server *s, const struct inode *dir, const char *name, struct stat *st)
{
	g_autofree char *path = inode_child_path_locked(dir, name);
	struct tree_node node;
	int err = tree_look(s->store, path, &node);
	*st = (struct stat){0};
	if (err == 0) {
		*st = node.st;
		tree_node_clear(&node);
	}
	return err == -ENOENT ? 0 : err;
}

/* The worker was killed between the two halves of departure_done_locked(). An entry that was
 * answered may be left: its number is not believed unless it has an object. */
static void departure_finish(struct server *s, struct inode *i, const struct journal_entry *e)
{
	char path[40];
	struct tree_node node;
	if (!i->nameless || (i->indexed && !e->last))
		return;
	snprintf(path, sizeof(path), "/unlinked/%016" PRIx64, e->number);
	int err = e->number ? tree_look(s->store, path, &node) : -ENOENT;
	if (err != -ENOENT) /* it may be there, if the look failed */
		inode_extra_locked(s, i)->unlinked = e->number;
	if (err == 0)
		tree_node_clear(&node);
	if (e->last) {
		i->indexed = false;
		i->nlink = 0;
	}
}

/* names_remove_locked() was to give the inode its first alias's name, and the worker was killed
 * when it had the parent. */
static bool is_torn(struct server *s, const struct inode *i, const char *name)
{
	const struct alias *a = i->extra ? i->extra->first : NULL;
	struct stat st;
	return a && !i->nameless && i->parent == a->parent && strcmp(i->name, name) == 0 &&
	       look(s, i->parent, name, &st) == 0 && !st.st_ino;
}

static void name_drop(struct server *s, struct inode *i, struct inode *dir, const char *name,
                      const struct journal_entry *e)
{
	struct departure d = {.last = e->last, .number = e->number};
	if (e->last && i->indexed)
		tree_index_drop(s->store, i->ino);
	if (!names_has(s, i, dir, name) && is_torn(s, i, name))
		dir = i->parent;
	if (!names_has(s, i, dir, name)) {
		departure_finish(s, i, e);
		return;
	}
	departure_done_locked(s, i, dir, name, &d);
	if (d.number && d.number != e->number)
		tree_orphan_drop(s->store, d.number);
	if (e->last)
		i->hashed = false;
}

static bool remove_finish(struct server *s, struct journal_entry *e, struct inode *dir,
                          struct inode *i)
{
	struct stat st;
	if (!e->local || look(s, dir, e->name, &st) != 0 || st.st_ino)
		return false;
	name_drop(s, i, dir, e->name, e);
	return true;
}

/* The change of one inode's name may be half done, too. */
static void name_move(struct server *s, struct inode *i, struct inode *from, const char *name,
                      struct inode *to, const char *newname)
{
	if (names_has(s, i, to, newname) || names_move_locked(s, i, from, name, to, newname))
		return;
	bool torn = (i->parent == to && strcmp(i->name, name) == 0) ||
	            (i->parent == from && strcmp(i->name, newname) == 0);
	if (torn)
		names_set_locked(s, i, to, newname);
	else
		names_add_locked(s, i, to, newname);
}

static bool rename_finish(struct server *s, struct journal_entry *e, struct inode *from,
                          struct inode *to, struct inode *i)
{
	struct stat a, b;
	bool exchange = e->flags & RENAME_EXCHANGE;
	struct inode *over = e->over ? inode_get(s->inodes, e->over) : NULL;
	if (look(s, from, e->name, &a) != 0 || look(s, to, e->newname, &b) != 0)
		return false;
	/* An entry may be left although it was answered, and the names may have changed since. */
	if (a.st_ino == e->ino || b.st_ino != e->ino) {
		/* it has not been renamed: what was set aside for it has a name still */
		if (e->number && !(over && over->extra && over->extra->unlinked == e->number))
			tree_orphan_drop(s->store, e->number);
		return false;
	}
	if (over && exchange)
		name_move(s, over, to, e->newname, from, e->name);
	else if (over && over != i)
		name_drop(s, over, to, e->newname, e);
	if (over && !exchange && S_ISDIR(over->type))
		tree_gone_forget(s->store, over->ino);
	name_move(s, i, from, e->name, to, e->newname);
	return true;
}

static bool link_finish(struct server *s, struct journal_entry *e, struct inode *to,
                        struct inode *i)
{
	struct stat st;
	if (look(s, to, e->newname, &st) != 0 || !st.st_ino || st.st_ino != e->ino)
		return false;
	if (i->nameless && i->extra)
		i->extra->unlinked = 0;
	if (!names_has(s, i, to, e->newname))
		names_add_locked(s, i, to, e->newname);
	return true;
}

static void finish(void *user, struct journal_entry *e)
{
	struct server *s = user;
	struct inode *dir = inode_get(s->inodes, e->dir), *to = inode_get(s->inodes, e->newdir);
	struct inode *i = inode_get(s->inodes, e->node);
	e->awaited = true;
	if (e->done || (e->kind != JOURNAL_LINK && !dir))
		return;
	if (e->kind == JOURNAL_REMOVE && i)
		e->done = remove_finish(s, e, dir, i);
	else if (e->kind == JOURNAL_RENAME && i && to)
		e->done = rename_finish(s, e, dir, to, i);
	else if (e->kind == JOURNAL_LINK && i && to)
		e->done = link_finish(s, e, to, i);
	if (e->done && i->extra)
		i->extra->changed = true;
}

void journal_recover(struct server *s)
{
	journal_each(s->area, finish, s);
}
