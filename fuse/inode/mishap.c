/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <glib.h>
#include "fuse/inode/mishap.h"
#include "fetch/base/lock.h"

struct mishaps {
	struct mutex lock;
	unsigned next; /* the slot to be replaced: the oldest, once the ring is full */
	struct mishap ring[MISHAPS_MAX];
};

struct mishaps *mishaps_new(void)
{
	struct mishaps *m = g_new0(struct mishaps, 1);
	mutex_init(&m->lock, RANK_MISHAPS);
	return m;
}

void mishaps_free(struct mishaps *m)
{
	for (unsigned i = 0; i < MISHAPS_MAX; i++)
		g_free(m->ring[i].cause);
	mutex_destroy(&m->lock);
	g_free(m);
}

static struct mishap *find_locked(struct mishaps *m, uint64_t ino) REQUIRES(m->lock)
{
	for (unsigned i = 0; i < MISHAPS_MAX; i++)
		if (m->ring[i].error && m->ring[i].ino == ino)
			return &m->ring[i];
	return NULL;
}

void mishaps_note(struct mishaps *m, struct mishap one)
{
	mutex_lock(&m->lock);
	struct mishap *slot = find_locked(m, one.ino);
	if (!slot) {
		slot = &m->ring[m->next];
		m->next = (m->next + 1) % MISHAPS_MAX;
	}
	char *before = slot->cause;
	*slot = one;
	mutex_unlock(&m->lock);
	g_free(before);
}

bool mishaps_find(struct mishaps *m, uint64_t ino, struct mishap *out)
{
	mutex_lock(&m->lock);
	const struct mishap *slot = find_locked(m, ino);
	if (slot) {
		*out = *slot;
		out->cause = g_strdup(slot->cause);
	}
	mutex_unlock(&m->lock);
	return slot != NULL;
}
