/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <sys/stat.h>
#include <time.h>
#include "fuse/control/filler.h"
#include "fetch/base/lock.h"
#include "fuse/inode/inode.h"
#include "fuse/inode/inode_content.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/server.h"
#include "fuse/inode/shortage.h"
#include "fuse/inode/waitqueue.h"

enum {
	WINDOW_MIN = 256 << 10,
	WINDOW_FIRST = 1 << 20,
	WINDOW_MAX = 32 << 20,
	TICK_NS = 100000000,
};
/* The evictor calls earlier, unless its round ended before the wait began. */
#define SHORTAGE_NS INT64_C(1000000000)

struct filler_slot {
	struct fill_wait wait;
	struct waitqueue_entry space; /* waits for space in the store */
	struct filler *filler;
	struct inode *inode;     /* a reference; NULL: the slot is free */
	struct content *content; /* a reference */
	uint64_t next, window;   /* asked for: [next, +window) */
	uint64_t before;         /* bytes present at the start */
	uint64_t seen;           /* bytes present when the window was asked for */
	int64_t asked_ns;
	bool waiting; /* until it has landed: for data or, `queued`, for space */
	bool queued;
	uint64_t rounds_seen; /* shortage.h */
	bool landed;          /* under the lock */
	int error;            /* of the wait; under the lock until it has landed */
};

struct filler {
	struct server *server;
	const struct filler_ops *ops;
	void *user;
	const uint64_t *inos;
	size_t count, taken;
	GQueue later;            /* of uint64_t, owned: files that yielded to others */
	unsigned active;         /* slots in use, */
	unsigned most;           /* and how many may be */
	int64_t moved_ns;        /* a file was completed */
	uint64_t bytes, fetched; /* of files already reported */
	bool unwanted;
	struct mutex lock;
	struct condition landing;
	struct filler_slot slots[FILLER_SLOTS];
};

static void wait_done(struct fill_wait *w, int error)
{
	struct filler_slot *slot =
	        (struct filler_slot *)((char *)w - offsetof(struct filler_slot, wait));
	struct filler *f = slot->filler;
	mutex_lock(&f->lock);
	slot->error = error;
	slot->landed = true;
	condition_signal(&f->landing);
	mutex_unlock(&f->lock);
}

static uint64_t bytes_present(struct content *c)
{
	struct content_info info = {0};
	content_info(c, 0, &info);
	uint64_t bytes = info.complete ? info.size : MIN(info.present * info.chunk_size, info.size);
	content_info_clear(&info);
	return bytes;
}

static void tell(struct filler *f, const struct filler_line *line)
{
	if (!f->unwanted && !f->ops->line(f->user, line))
		f->unwanted = true;
}

static void slot_finish(struct filler_slot *slot, int error)
{
	struct filler *f = slot->filler;
	struct content_info info = {0};
	content_info(slot->content, 0, &info);
	uint64_t present = bytes_present(slot->content);
	struct filler_line line = {
	        .ino = slot->inode->ino,
	        .bytes = present,
	        .fetched = present > slot->before ? present - slot->before : 0,
	        .error = error,
	        .cause = error ? info.cause : NULL,
	};
	f->bytes += line.bytes;
	f->fetched += line.fetched;
	tell(f, &line);
	content_info_clear(&info);
	content_unref(slot->content);
	inode_put(f->server, slot->inode);
	slot->content = NULL;
	slot->inode = NULL;
	f->active--;
	if (!error)
		f->moved_ns = clock_now();
}

/* Asks for windows until one has to be waited for, or the file ends. */
static void slot_advance(struct filler_slot *slot)
{
	uint64_t size = content_size(slot->content);
	while (slot->next < size) {
		slot->wait = (struct fill_wait){
		        .offset = slot->next,
		        .length = MIN(slot->window, size - slot->next),
		        .done = wait_done,
		};
		slot->seen = bytes_present(slot->content);
		slot->asked_ns = clock_now();
		slot->waiting = true;
		int error = fill_want(slot->content, &slot->wait, slot->window);
		if (error == -EINPROGRESS)
			return;
		slot->waiting = false;
		if (error) {
			slot_finish(slot, -error);
			return;
		}
		slot->next += MIN(slot->window, size - slot->next);
	}
	slot_finish(slot, content_present(slot->content, 0, size) ? 0 : EIO);
}

static void space_done(struct waitqueue_entry *w, int error)
{
	struct filler_slot *slot =
	        (struct filler_slot *)((char *)w - offsetof(struct filler_slot, space));
	wait_done(&slot->wait, error);
}

/* Files that are being filled are not evicted: if they take all space, fewer are filled at a time.
 */
static bool slot_yield(struct filler_slot *slot)
{
	struct filler *f = slot->filler;
	if (f->active < 2)
		return false;
	g_queue_push_tail(&f->later, g_memdup2(&slot->inode->ino, sizeof(slot->inode->ino)));
	content_unref(g_steal_pointer(&slot->content));
	inode_put(f->server, g_steal_pointer(&slot->inode));
	f->most = --f->active;
	return true;
}

/* Waits for space in the store. false: there is none, and no other error is waited for. */
static bool slot_await_space(struct filler_slot *slot)
{
	struct server *s = slot->filler->server;
	int error = slot->error;
	uint64_t need = slot->window;
	int64_t now = clock_now(), longest = (int64_t)s->settings->wait_ms * 1000000;
	if (error != ENOSPC && error != EDQUOT)
		return false;
	bool hopes = shortage_may_end(s, error, need, &slot->rounds_seen);
	if (!hopes && slot_yield(slot))
		return true;
	if (!hopes && now - slot->filler->moved_ns > longest)
		return false;
	slot->space = (struct waitqueue_entry){
	        .what = s->shortage,
	        .again_ns = now + SHORTAGE_NS,
	        .until_ns = now + longest,
	        .error = error,
	        .done = space_done,
	};
	slot->waiting = slot->queued = waitqueue_enter(s->waitqueue, &slot->space) == 0;
	if (slot->queued)
		shortage_tell(s, error, need);
	return slot->queued;
}

static void slot_called(struct filler_slot *slot)
{
	slot->waiting = slot->landed = slot->queued = false;
	if (slot->error)
		slot_finish(slot, slot->error);
	else
		slot_advance(slot);
}

static void slot_land(struct filler_slot *slot)
{
	if (slot->queued) {
		slot_called(slot);
		return;
	}
	int64_t took_ms = (clock_now() - slot->asked_ns) / 1000000;
	bool moved = bytes_present(slot->content) > slot->seen;
	slot->waiting = false;
	slot->landed = false;
	if (slot->error && !moved) {
		if (!slot_await_space(slot))
			slot_finish(slot, slot->error);
		return;
	}
	if (!slot->error)
		slot->next += slot->wait.length;
	if (!slot->error && took_ms < 1000)
		slot->window = MIN(slot->window * 2, WINDOW_MAX);
	else if (slot->error || took_ms > 5000)
		slot->window = MAX(slot->window / 2, WINDOW_MIN);
	slot_advance(slot);
}

static void slot_start(struct filler_slot *slot, uint64_t ino)
{
	struct filler *f = slot->filler;
	struct inode *inode = inode_find(f->server->inodes, ino);
	if (!inode || !S_ISREG(inode->type)) {
		if (inode)
			inode_put(f->server, inode);
		tell(f, &(struct filler_line){.ino = ino,
		                              .error = inode ? EINVAL : ENOENT,
		                              .cause = inode ? "not a regular file"
		                                             : "not known to the mount"});
		return;
	}
	if (inode->born) { /* made here: no chunk of it can be absent */
		mutex_lock(&inode->lock);
		struct filler_line line = {.ino = ino, .bytes = inode->size};
		mutex_unlock(&inode->lock);
		inode_put(f->server, inode);
		f->bytes += line.bytes;
		tell(f, &line);
		return;
	}
	slot->inode = inode;
	slot->content = inode_open_content(f->server, inode);
	slot->next = 0;
	slot->rounds_seen = 0;
	slot->window = WINDOW_FIRST;
	slot->before = 0;
	f->active++;
	int error = content_open(slot->content);
	if (error) {
		slot_finish(slot, -error);
		return;
	}
	slot->before = bytes_present(slot->content);
	slot_advance(slot);
}

static struct filler_slot *slot_free(struct filler *f)
{
	for (unsigned i = 0; i < FILLER_SLOTS; i++)
		if (!f->slots[i].inode)
			return &f->slots[i];
	return NULL;
}

static struct filler_slot *landed_locked(struct filler *f) REQUIRES(f->lock)
{
	for (unsigned i = 0; i < FILLER_SLOTS; i++)
		if (f->slots[i].landed)
			return &f->slots[i];
	return NULL;
}

/* The next slot that has landed; NULL after a tick without one. */
static struct filler_slot *filler_wait(struct filler *f)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += TICK_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	mutex_lock(&f->lock);
	struct filler_slot *slot = landed_locked(f);
	while (!slot && condition_wait_until(&f->landing, &f->lock, &until))
		slot = landed_locked(f);
	mutex_unlock(&f->lock);
	return slot;
}

static void filler_progress(struct filler *f)
{
	struct filler_line line = {.bytes = f->bytes, .fetched = f->fetched};
	for (unsigned i = 0; i < FILLER_SLOTS; i++) {
		struct filler_slot *slot = &f->slots[i];
		if (!slot->inode)
			continue;
		uint64_t present = bytes_present(slot->content);
		line.bytes += present;
		line.fetched += present > slot->before ? present - slot->before : 0;
	}
	tell(f, &line);
}

static bool slot_withdraw(struct filler_slot *slot)
{
	struct server *s = slot->filler->server;
	return slot->queued ? waitqueue_leave(s->waitqueue, &slot->space)
	                    : fill_cancel(s->fill, &slot->wait);
}

/* Cancels every wait; one that cannot be cancelled is about to land. */
static void filler_cancel(struct filler *f)
{
	for (unsigned i = 0; i < FILLER_SLOTS; i++) {
		struct filler_slot *slot = &f->slots[i];
		if (!slot->inode)
			continue;
		if (slot->waiting && !slot_withdraw(slot)) {
			mutex_lock(&f->lock);
			while (!slot->landed)
				condition_wait(&f->landing, &f->lock);
			mutex_unlock(&f->lock);
		}
		slot_finish(slot, ECANCELED);
	}
}

/* The next file to begin with, if another may be begun. */
static bool filler_next(struct filler *f, uint64_t *ino)
{
	if (f->active >= f->most)
		return false;
	if (f->taken < f->count) {
		*ino = f->inos[f->taken++];
		return true;
	}
	g_autofree uint64_t *later = g_queue_pop_head(&f->later);
	if (later)
		*ino = *later;
	return later;
}

static void filler_loop(struct filler *f)
{
	int64_t reported = clock_now(), asked = reported;
	while (!f->unwanted && (f->active || f->taken < f->count || f->later.length)) {
		struct filler_slot *slot;
		uint64_t ino;
		while ((slot = slot_free(f)) && !f->unwanted && filler_next(f, &ino))
			slot_start(slot, ino);
		if (f->active && (slot = filler_wait(f)))
			slot_land(slot);
		int64_t now = clock_now();
		if (now - asked >= TICK_NS) {
			asked = now;
			f->unwanted = f->unwanted || !f->ops->wanted(f->user);
		}
		if (now - reported >= 10 * (int64_t)TICK_NS) {
			reported = now;
			filler_progress(f);
		}
	}
}

void filler_run(struct server *s, const uint64_t *inos, size_t count, const struct filler_ops *ops,
                void *user)
{
	struct filler *f = g_new0(struct filler, 1);
	*f = (struct filler){.server = s,
	                     .ops = ops,
	                     .user = user,
	                     .inos = inos,
	                     .count = count,
	                     .most = FILLER_SLOTS,
	                     .moved_ns = clock_now()};
	mutex_init(&f->lock, RANK_FILLER);
	condition_init(&f->landing);
	for (unsigned i = 0; i < FILLER_SLOTS; i++)
		f->slots[i].filler = f;
	filler_loop(f);
	filler_cancel(f);
	if (!f->unwanted)
		filler_progress(f);
	g_queue_clear_full(&f->later, g_free);
	condition_destroy(&f->landing);
	mutex_destroy(&f->lock);
	g_free(f);
}
