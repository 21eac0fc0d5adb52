/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Names of inodes, and their paths. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "fuse/inode/names.h"
#include "fuse/base/arena.h"
#include "fuse/inode/inode.h"
#include "fuse/inode/server.h"

struct inode_extra *inode_extra_locked(struct server *s, struct inode *i)
{
	if (!i->extra)
		i->extra = arena_take(s->arena, sizeof(struct inode_extra));
	return i->extra;
}

static guint alias_hash(gconstpointer p)
{
	const struct alias *a = p;
	return g_str_hash(a->name) ^ g_direct_hash(a->parent);
}

static gboolean alias_equal(gconstpointer one, gconstpointer two)
{
	const struct alias *a = one, *b = two;
	return a->parent == b->parent && strcmp(a->name, b->name) == 0;
}

/* A look-up key, on the heap. */
static struct alias *alias_key(const struct inode *parent, const char *name)
{
	size_t length = strlen(name) + 1;
	struct alias *a = g_malloc(sizeof(*a) + length);
	a->parent = (struct inode *)parent;
	memcpy(a->name, name, length);
	return a;
}

bool names_has_aliases(const struct inode *i)
{
	return i->extra && i->extra->aliases && g_hash_table_size(i->extra->aliases) > 0;
}

static struct alias *alias_find(const struct inode *i, const struct inode *parent, const char *name)
{
	if (!names_has_aliases(i))
		return NULL;
	g_autofree struct alias *key = alias_key(parent, name);
	return g_hash_table_lookup(i->extra->aliases, key);
}

static void alias_hash_add(struct inode_extra *x, struct alias *a)
{
	if (!x->aliases)
		x->aliases = g_hash_table_new(alias_hash, alias_equal);
	g_hash_table_add(x->aliases, a);
}

static void alias_add(struct server *s, struct inode *i, struct inode *parent, const char *name)
{
	struct inode_extra *x = inode_extra_locked(s, i);
	size_t length = strlen(name) + 1;
	struct alias *a = arena_take(s->arena, sizeof(*a) + length);
	a->parent = parent;
	memcpy(a->name, name, length);
	a->next = x->first;
	if (a->next)
		a->next->before = a;
	/* last: a worker that is killed before leaves no half of an alias */
	__atomic_store_n(&x->first, a, __ATOMIC_RELEASE);
	alias_hash_add(x, a);
}

static void alias_drop(struct server *s, struct inode *i, struct alias *a)
{
	struct inode_extra *x = i->extra;
	g_hash_table_remove(x->aliases, a);
	if (a->before)
		a->before->next = a->next;
	else
		x->first = a->next;
	if (a->next)
		a->next->before = a->before;
	arena_give(s->arena, a);
}

static bool alias_remove(struct server *s, struct inode *i, const struct inode *parent,
                         const char *name)
{
	struct alias *a = alias_find(i, parent, name);
	if (a)
		alias_drop(s, i, a);
	return a != NULL;
}

void names_set_locked(struct server *s, struct inode *i, struct inode *parent, const char *name)
{
	const char *before = i->name;
	char *after = arena_strdup(s->arena, name);
	i->parent = parent;
	__atomic_store_n(&i->name, after, __ATOMIC_RELEASE); /* when it is whole */
	arena_give(s->arena, before);
}

bool names_has(struct server *s, const struct inode *i, const struct inode *parent,
               const char *name)
{
	rwlock_rdlock(&s->names);
	bool has = !i->nameless && ((i->parent == parent && strcmp(i->name, name) == 0) ||
	                            alias_find(i, parent, name));
	rwlock_unlock(&s->names);
	return has;
}

bool names_none(struct server *s, const struct inode *i)
{
	rwlock_rdlock(&s->names);
	bool none = i->nameless;
	rwlock_unlock(&s->names);
	return none;
}

struct inode *names_add_locked(struct server *s, struct inode *i, struct inode *parent,
                               const char *name)
{
	if (i->nameless) {
		struct inode *before = i->parent;
		names_set_locked(s, i, parent, name);
		i->nameless = false;
		return before;
	}
	alias_add(s, i, parent, name);
	return NULL;
}

struct inode *names_remove_locked(struct server *s, struct inode *i, struct inode *parent,
                                  const char *name)
{
	if (alias_remove(s, i, parent, name))
		return parent;
	if (i->parent != parent || strcmp(i->name, name) != 0)
		return NULL;
	if (!names_has_aliases(i)) {
		i->nameless = true; /* the inode keeps its parent for as long as it lives */
		return NULL;
	}
	struct alias *a = i->extra->first;
	names_set_locked(s, i, a->parent, a->name);
	alias_drop(s, i, a);
	return parent;
}

bool names_move_locked(struct server *s, struct inode *i, struct inode *from, const char *name,
                       struct inode *to, const char *newname)
{
	if (alias_remove(s, i, from, name))
		alias_add(s, i, to, newname);
	else if (i->parent == from && strcmp(i->name, name) == 0)
		names_set_locked(s, i, to, newname);
	else
		return false;
	return true;
}

bool names_restore(struct server *s, struct inode *i)
{
	struct inode_extra *x = i->extra;
	if (!arena_mark_text(s->arena, i->name))
		return false;
	if (!x)
		return true;
	if (!arena_mark(s->arena, x, sizeof(*x)) ||
	    (x->remote && !arena_mark_text(s->arena, x->remote)))
		return false;
	x->aliases = NULL;
	struct alias *before = NULL;
	for (struct alias *a = x->first; a; a = a->next) {
		if (!arena_mark(s->arena, a, sizeof(*a)))
			return false;
		bool twice = (a->parent == i->parent && strcmp(a->name, i->name) == 0) ||
		             alias_find(i, a->parent, a->name);
		if (twice) { /* the worker was killed as the name of an alias became the first */
			*(before ? &before->next : &x->first) = a->next;
			continue;
		}
		a->before = before;
		before = a;
		alias_hash_add(x, a);
	}
	return true;
}

void names_free(struct server *s, struct inode *i)
{
	struct inode_extra *x = i->extra;
	if (x) {
		while (x->first)
			alias_drop(s, i, x->first);
		g_clear_pointer(&x->aliases, g_hash_table_unref);
		arena_give(s->arena, x->remote);
		arena_give(s->arena, x);
	}
	arena_give(s->arena, i->name);
}

const struct inode *names_owner_locked(const struct inode *i)
{
	while (i->extra && i->extra->twin)
		i = i->extra->twin;
	return i;
}

static void path_append_locked(GString *path, const struct inode *i)
{
	if (!i->parent)
		return;
	path_append_locked(path, i->parent);
	if (path->len > 0)
		g_string_append_c(path, '/');
	g_string_append(path, i->name);
}

char *inode_path_locked(const struct inode *i)
{
	GString *path = g_string_sized_new(64);
	i = names_owner_locked(i);
	if (i->indexed)
		g_string_printf(path, "/links/%02x/%016" PRIx64, (unsigned)(i->ino & 0xff), i->ino);
	else if (i->nameless)
		g_string_printf(path, "/unlinked/%016" PRIx64, i->extra ? i->extra->unlinked : 0);
	else
		path_append_locked(path, i);
	return g_string_free(path, FALSE);
}

char *inode_child_path_locked(const struct inode *i, const char *name)
{
	g_autofree char *path = inode_path_locked(i);
	return path[0] ? g_strconcat(path, "/", name, NULL) : g_strdup(name);
}

char *inode_path_known(struct server *s, const struct inode *i)
{
	rwlock_rdlock(&s->names);
	char *path = inode_path_locked(i);
	rwlock_unlock(&s->names);
	return path;
}

char *inode_visible_path(struct server *s, const struct inode *i)
{
	GString *path = g_string_sized_new(64);
	rwlock_rdlock(&s->names);
	i = names_owner_locked(i);
	if (!i->nameless)
		path_append_locked(path, i);
	rwlock_unlock(&s->names);
	return g_string_free(path, FALSE);
}

static bool remote_append_locked(GString *path, const struct inode *i)
{
	if (i->born)
		return false;
	if (i->extra && i->extra->remote) {
		g_string_append(path, i->extra->remote);
		return true;
	}
	if (!i->parent)
		return true;
	if (!remote_append_locked(path, i->parent))
		return false;
	if (path->len > 0)
		g_string_append_c(path, '/');
	g_string_append(path, i->name);
	return true;
}

char *inode_remote(struct server *s, const struct inode *i)
{
	GString *path = g_string_sized_new(64);
	rwlock_rdlock(&s->names);
	bool remote = remote_append_locked(path, i);
	rwlock_unlock(&s->names);
	return g_string_free(path, !remote);
}
