/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/evict/leaving.h"
#include <errno.h>
#include <pthread.h>
#include "fetch/base/lock.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/server.h"

/* As many connections as a source has by default */
#define THREADS 16

struct leaves {
	struct server *server;
	const uint64_t *inos;
	size_t count;
	void (*leave)(struct server *s, struct inode *i, struct leaving *out);
	const struct leaving_ops *ops;
	void *user;
	struct mutex lock; /* of the fields below, and of lines */
	size_t next;
	bool ended;
};

static bool leaves_next(struct leaves *l, uint64_t *ino)
{
	mutex_lock(&l->lock);
	bool any = !l->ended && l->next < l->count && l->ops->wanted(l->user);
	if (any)
		*ino = l->inos[l->next++];
	mutex_unlock(&l->lock);
	return any;
}

static void *leaves_take(void *data)
{
	struct leaves *l = data;
	for (uint64_t ino; leaves_next(l, &ino);) {
		struct inode *i = inode_find(l->server->inodes, ino);
		struct leaving out = {.error = ENOENT, .cause = "unknown to the mount"};
		if (i)
			l->leave(l->server, i, &out);
		inode_put(l->server, i);
		mutex_lock(&l->lock);
		if (!l->ended)
			l->ended = !l->ops->line(l->user, ino, &out);
		mutex_unlock(&l->lock);
	}
	return NULL;
}

void leaving_run(struct server *s, const uint64_t *inos, size_t count,
                 void (*leave)(struct server *s, struct inode *i, struct leaving *out),
                 const struct leaving_ops *ops, void *user)
{
	struct leaves l = {.server = s,
	                   .inos = inos,
	                   .count = count,
	                   .leave = leave,
	                   .ops = ops,
	                   .user = user};
	pthread_t threads[THREADS - 1];
	unsigned started = 0;
	mutex_init(&l.lock, RANK_LEAVING);
	while (started < G_N_ELEMENTS(threads) && started + 1 < count &&
	       pthread_create(&threads[started], NULL, leaves_take, &l) == 0)
		started++;
	leaves_take(&l);
	for (unsigned n = 0; n < started; n++)
		pthread_join(threads[n], NULL);
	mutex_destroy(&l.lock);
}
