/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/ways.h"
#include <string.h>
#include "fetch/base/lock.h"
#include "fuse/inode/names.h"
#include "fuse/inode/server.h"

struct ways {
	struct mutex lock;
	struct condition moved;     /* `current` has ended */
	struct condition unused;    /* a way has ended */
	const struct move *current; /* borrowed; NULL: no move */
	GQueue used;                /* of struct way, borrowed */
	unsigned waiting;           /* moves, for `unused` */
};

/* A thread may have several ways or one move, not both: a move that has begun waits for no way, and
 * a way waits only for a move that has begun. */
LOCK_LIKE(way_rank, RANK_WAY);
LOCK_LIKE(move_rank, RANK_WAY);

struct ways *ways_new(void)
{
	struct ways *w = g_new0(struct ways, 1);
	mutex_init(&w->lock, RANK_WAYS);
	condition_init(&w->moved);
	condition_init(&w->unused);
	g_queue_init(&w->used);
	return w;
}

void ways_free(struct ways *w)
{
	if (!w)
		return;
	condition_destroy(&w->unused);
	condition_destroy(&w->moved);
	mutex_destroy(&w->lock);
	g_free(w);
}

static bool leads_through(const char *path, const char *moved)
{
	size_t length = moved ? strlen(moved) : 0;
	return moved && strncmp(path, moved, length) == 0 &&
	       (path[length] == '\0' || path[length] == '/');
}

static bool meet(const struct move *m, const struct way *w)
{
	return (w->i && (w->i == m->i || w->i == m->other)) || leads_through(w->path, m->from) ||
	       leads_through(w->path, m->to);
}

/* Makes the path anew after each wait. `dir` NULL: the path of `i`. */
static void begin_locked(struct server *s, const struct inode *dir, const char *name,
                         const struct inode *i, struct way *w) REQUIRES(s->ways->lock)
{
	*w = (struct way){.i = i};
	for (;;) {
		rwlock_rdlock(&s->names);
		w->path = dir ? inode_child_path_locked(dir, name) : inode_path_locked(i);
		if (!dir)
			w->i = names_owner_locked(i);
		rwlock_unlock(&s->names);
		if (!s->ways->current || !meet(s->ways->current, w))
			break;
		g_free(w->path);
		condition_wait_above(&s->ways->moved, &s->ways->lock);
	}
	w->link.data = w;
	g_queue_push_tail_link(&s->ways->used, &w->link);
}

void way_to(struct server *s, const struct inode *i, struct way *w)
{
	lock_like_wanted_again(way_rank);
	mutex_lock(&s->ways->lock);
	begin_locked(s, NULL, NULL, i, w);
	mutex_unlock(&s->ways->lock);
	lock_like_taken(way_rank);
}

void way_to_child(struct server *s, const struct inode *dir, const char *name,
                  const struct inode *i, struct way *w)
{
	lock_like_wanted_again(way_rank);
	mutex_lock(&s->ways->lock);
	begin_locked(s, dir, name, i, w);
	mutex_unlock(&s->ways->lock);
	lock_like_taken(way_rank);
}

void way_end(struct server *s, struct way *w)
{
	mutex_lock(&s->ways->lock);
	g_queue_unlink(&s->ways->used, &w->link);
	if (s->ways->waiting > 0)
		condition_broadcast(&s->ways->unused);
	mutex_unlock(&s->ways->lock);
	lock_like_left(way_rank);
	g_clear_pointer(&w->path, g_free);
}

char *way_path(struct server *s, const struct inode *i)
{
	struct way w;
	way_to(s, i, &w);
	char *path = g_strdup(w.path);
	way_end(s, &w);
	return path;
}

static void move_paths(struct server *s, struct move *m)
{
	g_free(m->from);
	g_free(m->to);
	rwlock_rdlock(&s->names);
	m->from = m->dir ? inode_child_path_locked(m->dir, m->name) : inode_path_locked(m->i);
	m->to = m->newdir ? inode_child_path_locked(m->newdir, m->newname) : NULL;
	rwlock_unlock(&s->names);
}

static bool is_used_locked(const struct ways *w, const struct move *m) REQUIRES(w->lock)
{
	for (const GList *l = w->used.head; l; l = l->next)
		if (meet(m, l->data))
			return true;
	return false;
}

/* false: not begun, but another move or a way has ended. */
static bool move_try_locked(struct server *s, struct move *m) REQUIRES(s->ways->lock)
{
	struct ways *w = s->ways;
	move_paths(s, m);
	if (w->current) {
		condition_wait_above(&w->moved, &s->ways->lock);
		return false;
	}
	if (is_used_locked(s->ways, m)) {
		w->waiting++;
		condition_wait_above(&w->unused, &s->ways->lock);
		w->waiting--;
		return false;
	}
	w->current = m;
	return true;
}

void move_begin(struct server *s, struct move *m)
{
	lock_like_wanted(move_rank);
	mutex_lock(&s->ways->lock);
	while (!move_try_locked(s, m))
		;
	mutex_unlock(&s->ways->lock);
	lock_like_taken(move_rank);
}

void move_end(struct server *s, struct move *m)
{
	mutex_lock(&s->ways->lock);
	s->ways->current = NULL;
	condition_broadcast(&s->ways->moved);
	mutex_unlock(&s->ways->lock);
	lock_like_left(move_rank);
	g_clear_pointer(&m->from, g_free);
	g_clear_pointer(&m->to, g_free);
}
