/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Two inodes may share one local file: at the source another file took the name, and the old one is
 * still open. They share its object, which has the map and the locks. */
#include "fetch/store/object/object_private.h"

static void *key_of(ino_t ino)
{
	return (void *)(uintptr_t)ino;
}

void shared_init(struct sharing *h)
{
	mutex_init(&h->lock, RANK_SHARING);
	condition_init(&h->changed);
	h->files = g_hash_table_new(NULL, NULL);
	h->visits = g_hash_table_new(NULL, NULL);
}

void shared_clear(struct sharing *h)
{
	g_hash_table_unref(h->visits);
	g_hash_table_unref(h->files);
	condition_destroy(&h->changed);
	mutex_destroy(&h->lock);
}

static size_t visits_locked(struct sharing *h, ino_t ino) REQUIRES(h->lock)
{
	return GPOINTER_TO_SIZE(g_hash_table_lookup(h->visits, key_of(ino)));
}

static void visits_set_locked(struct sharing *h, ino_t ino, size_t visits) REQUIRES(h->lock)
{
	if (visits)
		g_hash_table_insert(h->visits, key_of(ino), GSIZE_TO_POINTER(visits));
	else
		g_hash_table_remove(h->visits, key_of(ino));
}

/* Waits while another thread has the file busy: for its local I/O. */
static struct store_file *find_free_locked(struct sharing *h, ino_t ino, bool *waited)
        REQUIRES(h->lock)
{
	struct store_file *f;

	*waited = false;
	while ((f = g_hash_table_lookup(h->files, key_of(ino))) != NULL && f->busy) {
		*waited = true;
		condition_wait(&h->changed, &h->lock);
	}
	return f;
}

static void add_locked(struct sharing *h, struct store_file *f, ino_t ino, bool busy)
        REQUIRES(h->lock)
{
	f->shared_ino = ino;
	f->users = 1;
	f->busy = busy;
	g_hash_table_insert(h->files, key_of(ino), f);
}

struct store_file *shared_enter(struct store_file *f, ino_t ino)
{
	struct sharing *h = &f->store->sharing;
	struct store_file *other;
	bool waited;

	mutex_lock(&h->lock);
	other = find_free_locked(h, ino, &waited);
	if (other)
		other->users++;
	else
		add_locked(h, f, ino, true);
	mutex_unlock(&h->lock);
	return other ? other : f;
}

void shared_add(struct store_file *f, ino_t ino)
{
	struct sharing *h = &f->store->sharing;

	mutex_lock(&h->lock);
	add_locked(h, f, ino, false);
	mutex_unlock(&h->lock);
}

bool shared_leave(struct store_file *f)
{
	struct sharing *h = &f->store->sharing;
	bool last;

	mutex_lock(&h->lock);
	last = f->users == 0 || --f->users == 0;
	if (last && f->shared_ino) {
		g_hash_table_remove(h->files, key_of(f->shared_ino));
		condition_broadcast(&h->changed);
	}
	mutex_unlock(&h->lock);
	return last;
}

bool shared_take(struct store_file *f)
{
	struct sharing *h = &f->store->sharing;
	bool taken;

	mutex_lock(&h->lock);
	taken = f->users == 1 && !f->busy && !visits_locked(h, f->shared_ino);
	f->busy |= taken;
	mutex_unlock(&h->lock);
	return taken;
}

void shared_give_back(struct store_file *f)
{
	struct sharing *h = &f->store->sharing;

	mutex_lock(&h->lock);
	f->busy = false;
	condition_broadcast(&h->changed);
	mutex_unlock(&h->lock);
}

bool shared_wait(struct store *s, ino_t ino)
{
	bool waited;

	mutex_lock(&s->sharing.lock);
	find_free_locked(&s->sharing, ino, &waited);
	mutex_unlock(&s->sharing.lock);
	return waited;
}

bool store_file_shared(struct store_file *f)
{
	struct sharing *h = &f->store->sharing;
	bool shared;

	mutex_lock(&h->lock);
	shared = f->users > 1;
	mutex_unlock(&h->lock);
	return shared;
}

uint64_t store_file_number(const struct store_file *f)
{
	return f->shared_ino;
}

bool store_visit(struct store *s, uint64_t number)
{
	bool waited;

	mutex_lock(&s->sharing.lock);
	find_free_locked(&s->sharing, number, &waited);
	visits_set_locked(&s->sharing, number, visits_locked(&s->sharing, number) + 1);
	mutex_unlock(&s->sharing.lock);
	return !waited;
}

void store_visit_end(struct store *s, uint64_t number)
{
	mutex_lock(&s->sharing.lock);
	g_assert(visits_locked(&s->sharing, number) > 0);
	visits_set_locked(&s->sharing, number, visits_locked(&s->sharing, number) - 1);
	mutex_unlock(&s->sharing.lock);
}

bool store_file_visited(struct store_file *f)
{
	bool visited;

	mutex_lock(&f->store->sharing.lock);
	visited = visits_locked(&f->store->sharing, f->shared_ino) > 0;
	mutex_unlock(&f->store->sharing.lock);
	return visited;
}
