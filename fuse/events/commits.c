/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/events/commits.h"
#include <errno.h>
#include <glib.h>
#include "fetch/base/lock.h"

struct commit {
	uint64_t ino;
	unsigned under_way;
	int error; /* of one of these, or of the last ones */
};

struct commits {
	struct mutex lock;
	GHashTable *by_ino; /* uint64 ino → struct commit, owned: under way, or failed */
	unsigned under_way;
};

struct commits *commits_new(void)
{
	struct commits *c = g_new0(struct commits, 1);
	mutex_init(&c->lock, RANK_COMMITS);
	c->by_ino = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	return c;
}

void commits_free(struct commits *c)
{
	g_hash_table_unref(c->by_ino);
	mutex_destroy(&c->lock);
	g_free(c);
}

void commits_begin(struct commits *c, uint64_t ino)
{
	mutex_lock(&c->lock);
	struct commit *commit = g_hash_table_lookup(c->by_ino, &ino);
	if (!commit) {
		commit = g_new0(struct commit, 1);
		commit->ino = ino;
		g_hash_table_insert(c->by_ino, &commit->ino, commit);
	}
	if (commit->under_way++ == 0)
		commit->error = 0;
	c->under_way++;
	mutex_unlock(&c->lock);
}

void commits_end(struct commits *c, uint64_t ino, int error)
{
	mutex_lock(&c->lock);
	struct commit *commit = g_hash_table_lookup(c->by_ino, &ino);
	if (error)
		commit->error = error;
	c->under_way--;
	if (--commit->under_way == 0 && commit->error == 0)
		g_hash_table_remove(c->by_ino, &ino);
	mutex_unlock(&c->lock);
}

void commits_forget(struct commits *c, uint64_t ino)
{
	mutex_lock(&c->lock);
	const struct commit *commit = g_hash_table_lookup(c->by_ino, &ino);
	if (commit && commit->under_way == 0)
		g_hash_table_remove(c->by_ino, &ino);
	mutex_unlock(&c->lock);
}

int commits_state(struct commits *c, uint64_t ino)
{
	mutex_lock(&c->lock);
	const struct commit *commit = g_hash_table_lookup(c->by_ino, &ino);
	int error = !commit ? 0 : commit->under_way > 0 ? EINPROGRESS : EIO;
	mutex_unlock(&c->lock);
	return error;
}

bool commits_any(struct commits *c)
{
	mutex_lock(&c->lock);
	bool any = c->under_way > 0;
	mutex_unlock(&c->lock);
	return any;
}
