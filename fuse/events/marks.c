/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/events/marks.h"
#include <errno.h>
#include <glib.h>
#include "lacuna/precontent.h"

/* Inode numbers, of files and of directories that mark their children; `mount`: all files. */
struct set {
	bool mount;
	GHashTable *files, *directories;
};

struct marks {
	struct set marked, ignored;
};

static void set_init(struct set *s)
{
	s->files = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	s->directories = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
}

static void set_clear(struct set *s)
{
	g_hash_table_unref(s->files);
	g_hash_table_unref(s->directories);
}

static bool set_has(const struct set *s, uint64_t ino, const GArray *parents)
{
	if (s->mount || g_hash_table_contains(s->files, &ino))
		return true;
	for (guint n = 0; n < parents->len; n++)
		if (g_hash_table_contains(s->directories, &g_array_index(parents, uint64_t, n)))
			return true;
	return false;
}

struct marks *marks_new(void)
{
	struct marks *m = g_new0(struct marks, 1);
	set_init(&m->marked);
	set_init(&m->ignored);
	return m;
}

void marks_free(struct marks *m)
{
	if (!m)
		return;
	set_clear(&m->marked);
	set_clear(&m->ignored);
	g_free(m);
}

static void set_flush(struct set *s, uint32_t scope)
{
	if (scope == LACUNA_MARK_MOUNT)
		s->mount = false;
	else
		g_hash_table_remove_all(scope == LACUNA_MARK_FILE ? s->files : s->directories);
}

int marks_set(struct marks *m, uint32_t scope, uint32_t flags, uint64_t ino, bool full)
{
	struct set *s = flags & LACUNA_MARK_IGNORE ? &m->ignored : &m->marked;
	uint32_t how = flags & ~(uint32_t)LACUNA_MARK_IGNORE;
	if (scope < LACUNA_MARK_MOUNT || scope > LACUNA_MARK_FILE)
		return EINVAL;
	if (flags == LACUNA_MARK_FLUSH) {
		set_flush(&m->marked, scope);
		set_flush(&m->ignored, scope);
		return 0;
	}
	if (how != LACUNA_MARK_ADD && how != LACUNA_MARK_REMOVE)
		return EINVAL;
	GHashTable *t = scope == LACUNA_MARK_FILE ? s->files : s->directories;
	bool there = scope == LACUNA_MARK_MOUNT ? s->mount : g_hash_table_contains(t, &ino);
	if (how == LACUNA_MARK_REMOVE && !there)
		return ENOENT;
	if (how == LACUNA_MARK_ADD && !there && full)
		return ENOSPC;
	if (scope == LACUNA_MARK_MOUNT)
		s->mount = how == LACUNA_MARK_ADD;
	else if (how == LACUNA_MARK_ADD)
		g_hash_table_add(t, g_memdup2(&ino, sizeof ino));
	else
		g_hash_table_remove(t, &ino);
	return 0;
}

void marks_forget(struct marks *m, uint64_t ino)
{
	struct set *sets[] = {&m->marked, &m->ignored};
	for (size_t n = 0; n < G_N_ELEMENTS(sets); n++) {
		g_hash_table_remove(sets[n]->files, &ino);
		g_hash_table_remove(sets[n]->directories, &ino);
	}
}

bool marks_want(const struct marks *m, uint64_t ino, const GArray *parents)
{
	return set_has(&m->marked, ino, parents) && !set_has(&m->ignored, ino, parents);
}

static unsigned set_count(const struct set *s)
{
	return s->mount + g_hash_table_size(s->files) + g_hash_table_size(s->directories);
}

unsigned marks_count(const struct marks *m)
{
	return set_count(&m->marked) + set_count(&m->ignored);
}

struct each {
	void (*fn)(void *user, uint32_t scope, uint32_t flags, uint64_t ino);
	void *user;
	uint32_t scope, flags;
};

static void each_mark(gpointer key, gpointer value, gpointer user)
{
	const struct each *e = user;
	e->fn(e->user, e->scope, e->flags, *(const uint64_t *)key);
}

static void set_foreach(const struct set *s, struct each e)
{
	if (s->mount)
		e.fn(e.user, LACUNA_MARK_MOUNT, e.flags, 0);
	e.scope = LACUNA_MARK_FILE;
	g_hash_table_foreach(s->files, each_mark, &e);
	e.scope = LACUNA_MARK_CHILDREN;
	g_hash_table_foreach(s->directories, each_mark, &e);
}

void marks_foreach(const struct marks *m,
                   void (*fn)(void *user, uint32_t scope, uint32_t flags, uint64_t ino), void *user)
{
	struct each e = {.fn = fn, .user = user, .flags = LACUNA_MARK_ADD};
	set_foreach(&m->marked, e);
	e.flags |= LACUNA_MARK_IGNORE;
	set_foreach(&m->ignored, e);
}
