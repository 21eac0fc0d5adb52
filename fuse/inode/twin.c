/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/twin.h"
#include <string.h>
#include <sys/stat.h>
#include "fuse/inode/inode_table_private.h"
#include "fuse/inode/names.h"
#include "fuse/inode/notify.h"
#include "fuse/inode/server.h"

void twin_outlived(struct server *s, uint64_t ino)
{
	struct inode_table *t = s->inodes;
	mutex_lock(&t->lock);
	struct inode *i = inode_find_locked(t, ino);
	if (i && S_ISREG(i->type)) {
		i->outlived = true;
		g_hash_table_add(t->outlived, i);
	}
	mutex_unlock(&t->lock);
}

/* With `names` read or written. A file with several names is found by its number. */
static bool has_name_locked(const struct inode *i, const struct inode *dir, const char *name)
{
	return S_ISREG(i->type) && !i->local && !i->nameless && !i->indexed && i->nlink <= 1 &&
	       !names_has_aliases(i) && names_owner_locked(i) == i && i->parent == dir &&
	       strcmp(i->name, name) == 0;
}

bool twin_is_wanted(struct server *s, const struct inode *i, const struct inode *dir,
                    const char *name)
{
	struct inode_table *t = s->inodes;
	GHashTableIter iter;
	gpointer next;
	bool wanted = false;
	mutex_lock(&t->lock);
	rwlock_rdlock(&s->names);
	g_hash_table_iter_init(&iter, t->outlived);
	while (!wanted && g_hash_table_iter_next(&iter, &next, NULL))
		wanted = next != i && has_name_locked(next, dir, name);
	rwlock_unlock(&s->names);
	mutex_unlock(&t->lock);
	return wanted;
}

/* Another file may have its number by now. */
static void unhash_locked(struct inode_table *t, struct inode *i) REQUIRES(t->lock)
{
	if (i->hashed)
		g_hash_table_remove(t->by_ino, i);
	i->hashed = false;
}

static void set_locked(struct server *s, struct inode *i, struct inode *twin)
        REQUIRES(s->inodes->lock)
{
	unhash_locked(s->inodes, i);
	struct inode_extra *x = inode_extra_locked(s, i), *y = inode_extra_locked(s, twin);
	x->twin = twin;
	x->has_twin = true;
	twin->refs++;
	if (!y->twins)
		y->twins = g_ptr_array_new();
	g_ptr_array_add(y->twins, i);
	y->is_twin = true;
}

static void part_locked(struct server *s, struct inode *i, struct inode *twin)
        REQUIRES(s->inodes->lock)
{
	if (twin) {
		set_locked(s, i, twin);
	} else {
		unhash_locked(s->inodes, i);
		i->nameless = true;
	}
}

/* `twin` NULL: the inodes become nameless. */
static void part(struct server *s, struct inode *twin, const struct inode *dir, const char *name,
                 uint64_t listed)
{
	GHashTableIter iter;
	gpointer next;
	mutex_lock(&s->inodes->lock);
	struct inode *i = listed ? inode_find_locked(s->inodes, listed) : NULL;
	if (i || g_hash_table_size(s->inodes->outlived) > 0) {
		rwlock_wrlock(&s->names);
		if (i && i != twin && has_name_locked(i, dir, name))
			part_locked(s, i, twin);
		g_hash_table_iter_init(&iter, s->inodes->outlived);
		while (g_hash_table_iter_next(&iter, &next, NULL))
			if (next != twin && has_name_locked(next, dir, name))
				part_locked(s, next, twin);
		rwlock_unlock(&s->names);
	}
	mutex_unlock(&s->inodes->lock);
}

void twin_take(struct server *s, struct inode *i, const struct inode *dir, const char *name,
               uint64_t listed)
{
	part(s, i, dir, name, listed == i->ino ? 0 : listed);
}

void twin_unname(struct server *s, const struct inode *dir, const char *name)
{
	part(s, NULL, dir, name, 0);
}

void twin_follow(struct server *s, struct inode *i, uint64_t owner)
{
	mutex_lock(&s->inodes->lock);
	struct inode *twin = inode_find_locked(s->inodes, owner);
	rwlock_wrlock(&s->names);
	if (twin && S_ISREG(twin->type) && names_owner_locked(i) == i &&
	    names_owner_locked(twin) != i)
		set_locked(s, i, twin);
	rwlock_unlock(&s->names);
	mutex_unlock(&s->inodes->lock);
}

static void id_add(GArray *ids, const struct inode *i, const struct inode *but)
{
	uint64_t id = inode_id(i);
	if (i != but)
		g_array_append_val(ids, id);
}

void twin_changed(struct server *s, struct inode *i)
{
	const struct inode_extra *x = i->extra;
	if (!x || (!x->has_twin && !x->is_twin))
		return;
	g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	mutex_lock(&s->inodes->lock);
	const struct inode *twin = x->twin ? x->twin : i;
	const GPtrArray *twins = twin->extra->twins;
	id_add(ids, twin, i);
	for (guint n = 0; twins && n < twins->len; n++)
		id_add(ids, twins->pdata[n], i);
	mutex_unlock(&s->inodes->lock);
	for (guint n = 0; n < ids->len; n++)
		notifier_inode(s->notifier, g_array_index(ids, uint64_t, n), true);
}
