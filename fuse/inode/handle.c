/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/handle.h"
#include <fcntl.h>
#include <unistd.h>
#include "fetch/base/lock.h"
#include "fuse/base/area.h"
#include "fuse/base/quota.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/names.h"
#include "fuse/inode/server.h"
#include "fuse/inode/ways.h"

struct handle_table {
	struct mutex lock;
	struct area *area;    /* borrowed */
	struct handle *slots; /* by index, in the area; a free one has no inode */
	GArray *free_slots;   /* of uint32_t */
	GQueue holding; /* of struct handle, by `held`: those that keep a descriptor, oldest first
	                 */
	struct quota quota; /* of these; under lock */
};

/* Descriptors for the daemon itself: the store, the source, requests under way. */
#define OWN_MAX 1024
/* More than opens are under way: threads, and requests that are parked */
#define SPARE_SLOTS 4096
/* Oldest handles to be tried, to find one that can go */
#define LOOKS 16
/* A content has a file and a map. */
#define DESCRIPTORS_EACH 2

struct handle_table *handle_table_new(struct area *area, uint64_t descriptors)
{
	struct handle_table *t = g_new0(struct handle_table, 1);
	t->area = area;
	t->slots = area_region(area, AREA_HANDLES);
	mutex_init(&t->lock, RANK_HANDLE_TABLE);
	t->free_slots = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	g_queue_init(&t->holding);
	t->quota.normal = (descriptors - MIN(descriptors / 4 * 3, OWN_MAX)) / DESCRIPTORS_EACH;
	return t;
}

void handle_table_free(struct handle_table *t, struct server *s)
{
	for (uint32_t n = 0; n < t->area->handles; n++) {
		struct handle *h = &t->slots[n];
		if (h->inode) /* this takes it out of the queue, too */
			handle_close(s, h);
		mutex_destroy(&h->lock);
	}
	g_array_unref(t->free_slots);
	mutex_destroy(&t->lock);
	g_free(t);
}

uint64_t handle_table_count(struct handle_table *t)
{
	mutex_lock(&t->lock);
	uint64_t count = t->area->handles - t->free_slots->len;
	mutex_unlock(&t->lock);
	return count;
}

static uint32_t slots_max(struct handle_table *t)
{
	return (uint32_t)(area_region_size(t->area, AREA_HANDLES) / sizeof(struct handle));
}

bool handle_table_full(struct handle_table *t)
{
	mutex_lock(&t->lock);
	uint32_t left = slots_max(t) - t->area->handles + t->free_slots->len;
	mutex_unlock(&t->lock);
	return left < SPARE_SLOTS;
}

static void unhold_locked(struct handle_table *t, struct handle *h) REQUIRES(t->lock)
{
	if (!h->held.data)
		return;
	g_queue_unlink(&t->holding, &h->held);
	h->held.data = NULL;
}

/* It may be impossible to reopen a file without a name. */
static bool can_go_locked(const struct handle *h) REQUIRES(h->lock)
{
	return h->uses == 0 && !h->inode->nameless;
}

/* Takes the descriptors of one of the oldest handles, if there are too many. false: took none. */
static bool take_one(struct handle_table *t, struct content **c, int *fd)
{
	bool found = false;
	int64_t now = clock_now();
	*c = NULL;
	*fd = -1;
	mutex_lock(&t->lock);
	uint64_t most = quota_most(&t->quota, now);
	for (int n = 0; n < LOOKS && !found && t->holding.length > most; n++) {
		struct handle *h = t->holding.head->data;
		unhold_locked(t, h);
		/* its owner may be about to wait for the table */
		if (mutex_trylock(&h->lock)) {
			found = can_go_locked(h);
			if (found) {
				*c = g_steal_pointer(&h->content);
				h->version = *c ? content_read_version(*c) : h->version;
				*fd = h->fd;
				h->fd = -1;
			}
			mutex_unlock(&h->lock);
		}
		if (!found) {
			h->held.data = h;
			g_queue_push_tail_link(&t->holding, &h->held);
		}
	}
	mutex_unlock(&t->lock);
	return found;
}

static void trim(struct handle_table *t)
{
	struct content *c;
	int fd;
	while (take_one(t, &c, &fd)) {
		if (fd >= 0)
			close(fd);
		if (c)
			content_unref(c);
	}
}

void handle_table_spare(struct handle_table *t)
{
	mutex_lock(&t->lock);
	quota_lessen(&t->quota, t->holding.length, clock_now());
	mutex_unlock(&t->lock);
	trim(t);
}

void handle_hold(struct handle_table *t, struct handle *h)
{
	mutex_lock(&t->lock);
	if (!h->held.data) {
		h->held.data = h;
		g_queue_push_tail_link(&t->holding, &h->held);
	}
	bool many = t->holding.length > quota_most(&t->quota, clock_now());
	mutex_unlock(&t->lock);
	if (many)
		trim(t);
}

static struct handle *slot_take_locked(struct handle_table *t)
{
	if (t->free_slots->len > 0) {
		uint32_t index = g_array_index(t->free_slots, uint32_t, t->free_slots->len - 1);
		g_array_set_size(t->free_slots, t->free_slots->len - 1);
		return &t->slots[index];
	}
	uint32_t index = t->area->handles;
	if (index >= slots_max(t))
		g_error("no room for an open file");
	struct handle *h = &t->slots[index];
	mutex_init(&h->lock, RANK_HANDLE);
	h->index = index;
	h->fd = -1;
	t->area->handles = index + 1;
	return h;
}

uint64_t handle_open(struct server *s, struct inode *i, struct content *c, int fd, int flags,
                     enum iomode_kind iomode, bool watched, uint64_t request)
{
	struct handle_table *t = s->handles;
	mutex_lock(&i->lock);
	uint64_t version = i->complete && !c ? i->version : 0;
	mutex_unlock(&i->lock);
	mutex_lock(&t->lock);
	struct handle *h = slot_take_locked(t);
	h->content = c;
	h->version = version;
	h->ra = (struct readahead){0};
	h->fd = fd;
	h->flags = flags;
	h->iomode = iomode;
	h->watched = watched;
	h->visited = 0;
	h->sync_failures = store_sync_failures(s->store);
	h->write = (flags & O_ACCMODE) == O_WRONLY || (flags & O_ACCMODE) == O_RDWR;
	h->request = request;
	h->inode = i; /* last: the handle exists from here on, whatever becomes of this worker */
	uint64_t fh = ((uint64_t)h->generation << 32) | h->index;
	mutex_unlock(&t->lock);
	if (c || fd >= 0)
		handle_hold(t, h);
	return fh;
}

void handle_visit(struct handle_table *t, uint64_t fh, uint64_t visited)
{
	mutex_lock(&t->lock); /* RELEASE, on another thread, takes it first */
	t->slots[(uint32_t)fh].visited = visited;
	mutex_unlock(&t->lock);
}

struct handle *handle_get(struct handle_table *t, uint64_t fh)
{
	struct handle *h = NULL;
	uint32_t index = (uint32_t)fh;
	mutex_lock(&t->lock);
	if (index < t->area->handles)
		h = &t->slots[index];
	if (h && (!h->inode || h->generation != fh >> 32))
		h = NULL;
	mutex_unlock(&t->lock);
	return h;
}

void handle_slot_restored(struct handle_table *t, struct handle *h)
{
	if (h->inode)
		return;
	h->generation++; /* handle_close() may not have come to it: a RELEASE may come twice */
	g_array_append_val(t->free_slots, h->index);
}

struct handle *handle_of_request(struct handle_table *t, uint64_t request)
{
	struct handle *found = NULL;
	mutex_lock(&t->lock);
	for (uint32_t n = 0; n < t->area->handles && !found; n++)
		if (t->slots[n].inode && t->slots[n].request == request)
			found = &t->slots[n];
	mutex_unlock(&t->lock);
	return found;
}

void handle_close(struct server *s, struct handle *h)
{
	struct handle_table *t = s->handles;
	mutex_lock(&t->lock);
	struct inode *i = h->inode;
	h->inode = NULL;
	struct content *c = g_steal_pointer(&h->content);
	unhold_locked(t, h);
	int fd = h->fd;
	h->fd = -1;
	h->generation++;
	g_array_append_val(t->free_slots, h->index);
	mutex_unlock(&t->lock);
	if (fd >= 0)
		close(fd);
	if (c)
		content_unref(c);
	inode_put(s, i);
}

GHashTable *handle_table_paths(struct handle_table *t, struct server *s)
{
	GHashTable *paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autoptr(GArray) open = g_array_new(FALSE, FALSE, sizeof(uint64_t)); /* node ids */
	mutex_lock(&t->lock);
	for (uint32_t n = 0; n < t->area->handles; n++) {
		const struct handle *h = &t->slots[n];
		uint64_t id = h->inode ? inode_id(h->inode) : 0;
		if (id)
			g_array_append_val(open, id);
	}
	mutex_unlock(&t->lock);
	for (guint n = 0; n < open->len; n++) {
		struct inode *i = inode_get(s->inodes, g_array_index(open, uint64_t, n));
		if (i)
			g_hash_table_add(paths, way_path(s, i));
		inode_put(s, i);
	}
	return paths;
}
