/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/inode_table.h"
#include <string.h>
#include <sys/stat.h>
#include "fetch/store/tree/tree.h"
#include "fuse/base/arena.h"
#include "fuse/inode/backing.h"
#include "fuse/inode/inode_table_private.h"
#include "fuse/inode/names.h"
#include "fuse/inode/numbers.h"
#include "fuse/inode/server.h"
#include "fuse/inode/unlinked.h"
#include "fuse/inode/ways.h"

static guint inode_hash(gconstpointer p)
{
	uint64_t ino = ((const struct inode *)p)->ino;
	return (guint)(ino ^ (ino >> 32));
}

static gboolean inode_equal(gconstpointer a, gconstpointer b)
{
	return ((const struct inode *)a)->ino == ((const struct inode *)b)->ino;
}

struct inode_table *inode_table_new(struct area *area, struct numbers *numbers)
{
	struct inode_table *t = g_new0(struct inode_table, 1);
	t->numbers = numbers;
	t->area = area;
	t->slots = area_region(area, AREA_INODES);
	mutex_init(&t->lock, RANK_INODE_TABLE);
	t->by_ino = g_hash_table_new(inode_hash, inode_equal);
	t->outlived = g_hash_table_new(NULL, NULL);
	t->free = slots_new(area, AREA_INODES, sizeof(struct inode), &area->inodes);
	return t;
}

uint64_t inode_id(const struct inode *i)
{
	/* The root is index 0, generation 0: FUSE_ROOT_ID */
	return ((uint64_t)i->generation << 32) | (i->index + UINT64_C(1));
}

static struct inode *slot_locked(struct inode_table *t, uint64_t nodeid) REQUIRES(t->lock)
{
	uint64_t index = (nodeid & UINT32_MAX) - 1;
	if (index >= t->area->inodes)
		return NULL;
	struct inode *i = &t->slots[index];
	return i->alive && i->generation == nodeid >> 32 ? i : NULL;
}

struct inode *inode_get(struct inode_table *t, uint64_t nodeid)
{
	mutex_lock(&t->lock);
	struct inode *i = slot_locked(t, nodeid);
	if (i)
		i->refs++;
	mutex_unlock(&t->lock);
	return i;
}

struct inode *inode_ref(struct inode_table *t, struct inode *i)
{
	mutex_lock(&t->lock);
	i->refs++;
	mutex_unlock(&t->lock);
	return i;
}

struct inode *inode_parent(struct server *s, const struct inode *i, char **name)
{
	struct inode_table *t = s->inodes;
	mutex_lock(&t->lock);
	rwlock_rdlock(&s->names);
	struct inode *parent = i->parent;
	if (parent)
		parent->refs++;
	if (name)
		*name = g_strdup(i->name);
	rwlock_unlock(&s->names);
	mutex_unlock(&t->lock);
	return parent;
}

struct inode *inode_find_locked(struct inode_table *t, uint64_t ino)
{
	struct inode key = {.ino = ino};
	return g_hash_table_lookup(t->by_ino, &key);
}

struct inode *inode_find(struct inode_table *t, uint64_t ino)
{
	mutex_lock(&t->lock);
	struct inode *i = inode_find_locked(t, ino);
	if (i)
		i->refs++;
	mutex_unlock(&t->lock);
	return i;
}

/* NULL: all are in use. */
static struct inode *slot_take_locked(struct inode_table *t) REQUIRES(t->lock)
{
	uint32_t index;
	if (!slots_take(t->free, &index))
		return NULL;
	struct inode *i = &t->slots[index];
	memset(i, 0, sizeof(*i));
	i->index = index;
	i->generation = index ? t->area->generation++ : 0; /* inode_id() of the root */
	return i;
}

static struct inode *insert_locked(struct server *s, struct inode_table *t, struct inode *parent,
                                   const char *name, const struct listing_entry *e, uint64_t ino)
        REQUIRES(t->lock)
{
	struct inode *i = arena_has_room(s->arena, strlen(name) + 1) ? slot_take_locked(t) : NULL;
	if (!i)
		return NULL;
	i->name = arena_strdup(s->arena, name);
	mutex_init(&i->lock, RANK_INODE);
	i->ino = ino;
	i->shown = numbers_shown(t->numbers, ino);
	i->type = e->mode & S_IFMT;
	i->mode = e->mode;
	i->uid = e->uid;
	i->gid = e->gid;
	i->nlink = e->nlink;
	i->rdev = e->rdev;
	i->size = e->size;
	i->mtime_ns = e->mtime_ns;
	i->complete = S_ISREG(e->mode) && e->size == 0;
	i->keep_cache = true;
	i->behind = true; /* a killed daemon may have left mappings */
	i->hashed = true;
	i->parent = parent;
	if (parent)
		parent->refs++;
	i->alive = true;
	g_hash_table_add(t->by_ino, i);
	t->count++;
	return i;
}

/* `ino`: its inode number, if no name is left; 0: some are */
static void unlinked_collect(struct inode *i, uint64_t ino, GArray **unlinked)
{
	if (!i->extra || !i->extra->unlinked)
		return;
	struct unlinked one = {i->extra->unlinked, ino};
	if (!*unlinked)
		*unlinked = g_array_new(FALSE, FALSE, sizeof(struct unlinked));
	g_array_append_val(*unlinked, one);
	i->extra->unlinked = 0;
}

/* Adds another name of a known file. */
static void intern_alias_locked(struct server *s, struct inode *i, struct inode *parent,
                                const char *name) REQUIRES(s->inodes->lock)
{
	parent->refs++;
	rwlock_wrlock(&s->names);
	struct inode *before = names_add_locked(s, i, parent, name);
	rwlock_unlock(&s->names);
	if (before)
		before->refs--; /* it has other users: a child was just looked up in it */
}

/* A file that had lost its last known name was found by another one: its entry in /unlinked, until
 * here counted as a link, goes. */
static void drop_unlinked(struct server *s, struct inode *i)
{
	struct move m = {.i = i};
	uint64_t number = 0;
	move_begin(s, &m);
	rwlock_wrlock(&s->names);
	if (!i->nameless && i->extra) {
		number = i->extra->unlinked;
		i->extra->unlinked = 0;
	}
	rwlock_unlock(&s->names);
	if (number)
		tree_orphan_drop(s->store, number);
	move_end(s, &m);
}

struct inode *inode_intern(struct server *s, struct inode *parent, const char *name,
                           const struct listing_entry *e, bool lookup)
{
	struct inode_table *t = s->inodes;
	bool found_again = false;
	uint64_t ino = e->ino;
	mutex_lock(&t->lock);
	struct inode *i;
	while ((i = inode_find_locked(t, ino))) {
		/* without a name, but found: its other names were not looked up yet */
		bool same_name = names_has(s, i, parent, name) || names_none(s, i);
		if (i->type != (e->mode & S_IFMT)) {
			/* The name has a file of another kind now; the old inode lives until it is
			 * forgotten. */
			g_hash_table_remove(t->by_ino, i);
			i->hashed = false;
			i = NULL;
			break;
		}
		if (same_name || e->nlink > 1 || i->nlink > 1)
			break;
		/* Two files, one 64-bit hash: never one inode for both. Expected once in
		 * 10^5 trees of 10^7 files. */
		ino = ino * UINT64_C(0x9e3779b97f4a7c15) | 2;
	}
	if (!i)
		i = insert_locked(s, t, parent, name, e, ino);
	else if (parent && !names_has(s, i, parent, name)) {
		found_again = names_none(s, i);
		mutex_assert_held(&s->inodes->lock); /* t->lock */
		intern_alias_locked(s, i, parent, name);
	}
	if (i) {
		i->refs++;
		if (lookup)
			i->nlookup++;
	}
	mutex_unlock(&t->lock);
	if (i && found_again)
		drop_unlinked(s, i);
	return i;
}

static void release_locked(struct server *s, struct inode *i, GArray **unlinked)
        REQUIRES(s->inodes->lock);

/* The twin lives as long as any inode that it is the twin of. */
static void twin_release_locked(struct server *s, struct inode *i, GArray **unlinked)
        REQUIRES(s->inodes->lock)
{
	struct inode *owner = i->extra ? i->extra->twin : NULL;
	if (!owner)
		return;
	g_ptr_array_remove_fast(owner->extra->twins, i);
	owner->extra->is_twin = owner->extra->twins->len > 0;
	owner->refs--;
	release_locked(s, owner, unlinked);
}

static void aliases_release_locked(struct server *s, struct inode_extra *x, GArray **unlinked)
        REQUIRES(s->inodes->lock)
{
	for (struct alias *a = x ? x->first : NULL; a; a = a->next) {
		a->parent->refs--;
		release_locked(s, a->parent, unlinked);
	}
	if (x)
		g_clear_pointer(&x->twins, g_ptr_array_unref);
}

/* Frees `i` if it has no references, and then perhaps its parents. */
static void release_locked(struct server *s, struct inode *i, GArray **unlinked)
        REQUIRES(s->inodes->lock)
{
	struct inode_table *t = s->inodes;
	while (i && i->refs == 0 && i->nlookup == 0) {
		struct inode *parent = i->parent;
		if (i->hashed)
			g_hash_table_remove(t->by_ino, i);
		g_hash_table_remove(t->outlived, i);
		i->alive = false;
		t->count--;
		/* Out of the table: no thread can find it, and its lock is free. Leaving this for
		 * after the table's lock would need a list; all that follows is short. */
		if (s->backing && S_ISREG(i->type))
			backing_drop(s->backing, i);
		if (S_ISDIR(i->type) && i->directory)
			directory_unref(i->directory);
		unlinked_collect(i, i->nlink == 0 ? i->ino : 0, unlinked);
		twin_release_locked(s, i, unlinked);
		aliases_release_locked(s, i->extra, unlinked);
		names_free(s, i);
		mutex_destroy(&i->lock);
		slots_give(t->free, i->index);
		if (parent)
			parent->refs--;
		i = parent;
	}
}

void inode_put(struct server *s, struct inode *i)
{
	if (!i)
		return;
	GArray *unlinked = NULL;
	mutex_lock(&s->inodes->lock);
	g_assert(i->refs > 0);
	i->refs--;
	release_locked(s, i, &unlinked);
	mutex_unlock(&s->inodes->lock);
	unlinked_remove(s, unlinked);
}

uint64_t inode_forget(struct server *s, uint64_t nodeid, uint64_t nlookup)
{
	GArray *unlinked = NULL;
	uint64_t left = 0;
	mutex_lock(&s->inodes->lock);
	struct inode *i = slot_locked(s->inodes, nodeid);
	if (i && i->index != 0) {
		i->nlookup -= MIN(i->nlookup, nlookup);
		left = i->overcounted ? i->nlookup : 0;
		release_locked(s, i, &unlinked);
	}
	mutex_unlock(&s->inodes->lock);
	unlinked_remove(s, unlinked);
	return left;
}

void inode_forget_unknown(struct server *s, uint64_t nodeid, uint64_t nlookup)
{
	GArray *unlinked = NULL;
	mutex_lock(&s->inodes->lock);
	struct inode *i = slot_locked(s->inodes, nodeid);
	if (i && i->index != 0 && i->nlookup == nlookup) {
		i->nlookup = 0;
		release_locked(s, i, &unlinked);
	}
	mutex_unlock(&s->inodes->lock);
	unlinked_remove(s, unlinked);
}

void inode_unhash(struct inode_table *t, struct inode *i)
{
	mutex_lock(&t->lock);
	if (i->hashed)
		g_hash_table_remove(t->by_ino, i);
	i->hashed = false;
	mutex_unlock(&t->lock);
}

void inode_rehash(struct inode_table *t, struct inode *i)
{
	mutex_lock(&t->lock);
	if (!i->hashed && !inode_find_locked(t, i->ino))
		i->hashed = g_hash_table_add(t->by_ino, i);
	mutex_unlock(&t->lock);
}

uint64_t inode_count(struct inode_table *t)
{
	mutex_lock(&t->lock);
	uint64_t count = t->count;
	mutex_unlock(&t->lock);
	return count;
}

/* The session is over: the kernel has no references any more, whatever FORGETs are missing. */
uint32_t inode_table_known(struct inode_table *t, uint32_t *next, struct inode_known *out,
                           uint32_t most)
{
	uint32_t count = 0;
	mutex_lock(&t->lock);
	for (; (*next = slots_next(t->free, *next)) < t->area->inodes && count < most; ++*next) {
		const struct inode *i = &t->slots[*next];
		if (i->alive && (i->nlookup > 0 || i->index == 0))
			out[count++] =
			        (struct inode_known){inode_id(i), i->nlookup, S_ISDIR(i->type)};
	}
	mutex_unlock(&t->lock);
	return count;
}

void inode_table_free(struct inode_table *t, struct server *s)
{
	GArray *unlinked = NULL;
	mutex_lock(&t->lock);
	mutex_assert_held(&s->inodes->lock);
	for (uint32_t index = 0; index < t->area->inodes; index++) {
		struct inode *i = &t->slots[index];
		i->nlookup = 0;
		if (i->alive)
			release_locked(s, i, &unlinked);
	}
	mutex_unlock(&t->lock);
	unlinked_remove(s, unlinked);
	g_hash_table_unref(t->by_ino);
	g_hash_table_unref(t->outlived);
	slots_free(t->free);
	mutex_destroy(&t->lock);
	g_free(t);
}
