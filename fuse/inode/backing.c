/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/backing.h"
#include <errno.h>
#include <linux/types.h>
#include <sys/ioctl.h>
#include "fetch/base/lock.h"
#include "fuse/base/area.h"
#include "fuse/inode/server.h"

/* linux/fuse.h of 6.9 and later; bookworm's is older */
struct backing_map {
	__s32 fd;
	__u32 flags;
	__u64 padding;
};
#define BACKING_OPEN _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, __u32)

/* The kernel gives ids in ascending order. So many threads may have one each of which nobody else
 * knows. */
#define WINDOW 256

struct backing {
	struct area *area; /* borrowed; has the highest id */
	int device;
	unsigned keep;
	const char *unusable; /* static; atomic */
	struct mutex lock;
	GQueue kept; /* of struct inode (borrowed): with an id, without handles; oldest first */
};

struct backing *backing_new(struct area *area, int device, unsigned keep, const char *unusable)
{
	struct backing *b = g_new0(struct backing, 1);
	b->area = area;
	b->device = device;
	b->keep = keep;
	b->unusable = unusable;
	mutex_init(&b->lock, RANK_BACKING);
	g_queue_init(&b->kept);
	return b;
}

const char *backing_unusable(const struct backing *b)
{
	return __atomic_load_n(&b->unusable, __ATOMIC_ACQUIRE);
}

void backing_probe(struct backing *b)
{
	/* The kernel checks the privilege before the descriptor: EBADF means that a valid one would
	 * do. */
	struct backing_map map = {.fd = -1};
	if (!b->unusable && ioctl(b->device, BACKING_OPEN, &map) < 0 && errno == EPERM)
		__atomic_store_n(&b->unusable,
		                 "it takes CAP_SYS_ADMIN in the initial user namespace",
		                 __ATOMIC_RELEASE);
}

/* Closed before it is forgotten: a worker that is killed in between closes it once more, which
 * fails. So it does where the connection has gone, and the ids with it. */
static void id_close_locked(struct backing *b, struct inode *i)
{
	int32_t id = i->backing_id;
	if (id > 0)
		(void)ioctl(b->device, BACKING_CLOSE, &id);
	i->backing_id = 0;
}

static void unqueue_locked(struct backing *b, struct inode *i) REQUIRES(b->lock)
{
	if (i->backing_link)
		g_queue_delete_link(&b->kept, g_steal_pointer(&i->backing_link));
}

static void oldest_drop_locked(struct backing *b)
{
	struct inode *i = g_queue_pop_head(&b->kept);
	i->backing_link = NULL;
	id_close_locked(b, i);
}

void backing_free(struct backing *b)
{
	while (b->kept.length > 0)
		oldest_drop_locked(b);
	mutex_destroy(&b->lock);
	g_free(b);
}

bool backing_kept(struct backing *b, struct inode *i)
{
	mutex_lock(&b->lock);
	bool kept = i->backing_id > 0;
	mutex_unlock(&b->lock);
	return kept;
}

int backing_acquire(struct backing *b, struct inode *i, int fd)
{
	mutex_lock(&b->lock);
	int32_t id = i->backing_id;
	unqueue_locked(b, i);
	mutex_unlock(&b->lock);
	if (id > 0)
		return 0;
	struct backing_map map = {.fd = fd};
	id = ioctl(b->device, BACKING_OPEN, &map);
	if (id <= 0)
		return id < 0 ? errno : EIO;
	mutex_lock(&b->lock);
	i->backing_id = id;
	b->area->backing = MAX(b->area->backing, id);
	mutex_unlock(&b->lock);
	return 0;
}

static void keep_locked(struct backing *b, struct inode *i)
{
	g_queue_push_tail(&b->kept, i);
	i->backing_link = b->kept.tail;
	if (b->kept.length > b->keep)
		oldest_drop_locked(b);
}

void backing_release(struct backing *b, struct inode *i)
{
	mutex_lock(&b->lock);
	keep_locked(b, i);
	mutex_unlock(&b->lock);
}

void backing_restore(struct backing *b, struct inode *i)
{
	mutex_lock(&b->lock);
	i->backing_link = NULL;
	if (!i->alive)
		id_close_locked(b, i);
	else if (i->backing_id > 0 && i->handles == 0)
		keep_locked(b, i);
	mutex_unlock(&b->lock);
}

void backing_recover(struct backing *b, GHashTable *held)
{
	for (int32_t id = MAX(b->area->backing - WINDOW, 1); id < b->area->backing + WINDOW; id++)
		if (!g_hash_table_contains(held, GINT_TO_POINTER(id)))
			(void)ioctl(b->device, BACKING_CLOSE, &id);
}

void backing_spare(struct backing *b)
{
	for (bool more = true; more;) {
		mutex_lock(&b->lock);
		more = b->kept.length > 0;
		if (more)
			oldest_drop_locked(b);
		mutex_unlock(&b->lock);
	}
}

void backing_drop(struct backing *b, struct inode *i)
{
	mutex_lock(&b->lock);
	unqueue_locked(b, i);
	id_close_locked(b, i);
	mutex_unlock(&b->lock);
}
