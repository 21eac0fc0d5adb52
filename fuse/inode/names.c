/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Names of inodes, and their paths. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "fuse/inode/names.h"
#include "fuse/inode/inode.h"
#include "fuse/inode/server.h"

struct inode_extra *inode_extra_locked(struct inode *i)
{
	if (!i->extra)
		i->extra = g_new0(struct inode_extra, 1);
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

static struct alias *alias_new(struct inode *parent, const char *name)
{
	size_t length = strlen(name) + 1;
	struct alias *a = g_malloc(sizeof(*a) + length);
	a->parent = parent;
	memcpy(a->name, name, length);
	return a;
}

bool names_has_aliases(const struct inode *i)
{
	return i->extra && i->extra->aliases && g_hash_table_size(i->extra->aliases) > 0;
}

static bool alias_has(const struct inode *i, const struct inode *parent, const char *name)
{
	if (!names_has_aliases(i))
		return false;
	g_autofree struct alias *key = alias_new((struct inode *)parent, name);
	return g_hash_table_contains(i->extra->aliases, key);
}

static void alias_add(struct inode *i, struct inode *parent, const char *name)
{
	struct inode_extra *x = inode_extra_locked(i);
	if (!x->aliases)
		x->aliases = g_hash_table_new_full(alias_hash, alias_equal, g_free, NULL);
	g_hash_table_add(x->aliases, alias_new(parent, name));
}

static bool alias_remove(struct inode *i, const struct inode *parent, const char *name)
{
	if (!names_has_aliases(i))
		return false;
	g_autofree struct alias *key = alias_new((struct inode *)parent, name);
	return g_hash_table_remove(i->extra->aliases, key);
}

bool names_has(struct server *s, const struct inode *i, const struct inode *parent,
               const char *name)
{
	rwlock_rdlock(&s->names);
	bool has = !i->nameless && ((i->parent == parent && strcmp(i->name, name) == 0) ||
	                            alias_has(i, parent, name));
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

struct inode *names_add_locked(struct inode *i, struct inode *parent, const char *name)
{
	if (i->nameless) {
		struct inode *before = i->parent;
		i->parent = parent;
		g_free(i->name);
		i->name = g_strdup(name);
		i->nameless = false;
		return before;
	}
	alias_add(i, parent, name);
	return NULL;
}

struct inode *names_remove_locked(struct inode *i, struct inode *parent, const char *name)
{
	GHashTableIter iter;
	gpointer next;
	if (alias_remove(i, parent, name))
		return parent;
	if (i->parent != parent || strcmp(i->name, name) != 0)
		return NULL;
	if (!names_has_aliases(i)) {
		i->nameless = true; /* the inode keeps its parent for as long as it lives */
		return NULL;
	}
	g_hash_table_iter_init(&iter, i->extra->aliases);
	g_hash_table_iter_next(&iter, &next, NULL);
	const struct alias *a = next;
	i->parent = a->parent;
	g_free(i->name);
	i->name = g_strdup(a->name);
	g_hash_table_iter_remove(&iter);
	return parent;
}

bool names_move_locked(struct inode *i, struct inode *from, const char *name, struct inode *to,
                       const char *newname)
{
	if (alias_remove(i, from, name)) {
		alias_add(i, to, newname);
	} else if (i->parent == from && strcmp(i->name, name) == 0) {
		i->parent = to;
		g_free(i->name);
		i->name = g_strdup(newname);
	} else {
		return false;
	}
	return true;
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
