/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/iomode.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/store/disk/space.h"
#include "fuse/base/seal.h"
#include "fuse/inode/backing.h"
#include "fuse/inode/lease.h"
#include "fuse/inode/local.h"
#include "fuse/inode/names.h"
#include "fuse/inode/ways.h"

/* The size of one READ. The kernel opens the backing file with each open, 8 µs of 30 here (an AMD
 * guest); a small file, whose data the page cache keeps, has no use for it. Warm, side by side:
 * 17,458 source files took 3.3 × the native time by passthrough, 2.7 × without. */
#define PAGE_CACHE_MAX (UINT64_C(128) << 10)

/* The kernel opens the backing file anew for each open, with our credentials; a
 * registered O_RDONLY descriptor keeps a direct exec of the local file possible. */
static int local_open(struct server *s, struct inode *i)
{
	if (i->born)
		return inode_open_local(s, i, O_RDONLY);
	g_autofree char *path = way_path(s, i);
	return store_open_readonly(s->store, path, i->ino);
}

static uint32_t seals_locked(const struct inode *i, bool write) REQUIRES(i->lock)
{
	return write && i->extra ? i->extra->seals : 0;
}

/* Is there a mapping in passthrough: a writable one or, with `any`, one of any kind? Asked for an
 * inode without handles only: others keep their mode. */
static bool is_mapped_behind(struct server *s, struct inode *i, int own, bool any)
{
	any |= own >= 0; /* our own descriptor is writable itself */
	mutex_lock(&i->lock);
	bool doubt = (i->behind || any) && i->complete && i->iomode == IOMODE_NONE;
	uint32_t passes = i->passes;
	if (doubt && any)
		backing_drop(s->backing, i); /* its id has the file open for reading */
	mutex_unlock(&i->lock);
	if (!doubt)
		return false;
	int fd = own >= 0 ? own : local_open(s, i);
	bool held = fd >= 0 && lease_probe(fd, any) == LEASE_HELD;
	if (fd >= 0 && fd != own)
		close(fd);
	mutex_lock(&i->lock);
	if (passes == i->passes && !held)
		i->behind = false;
	mutex_unlock(&i->lock);
	return held;
}

/* The choices for a new open. */
struct choice {
	bool usable, write, watched, exact;
	bool whole;      /* passthrough */
	bool mapped;     /* passthrough, since a mapping continues there unseen */
	uint32_t passes; /* of the inode, before the look */
	int fd, err;     /* of the local file */
};

/* While space is short, writes must pass the daemon, which evicts for them. */
static bool is_crowded(struct server *s)
{
	struct space_look l;
	struct space_use use;
	store_space_use(s->store, &use);
	return use.fetched > 0 && store_space_look(s->store, &l) == 0 && space_lack(&l, 0, 1) > 0;
}

static void choose(struct server *s, struct inode *i, int own, struct choice *c)
{
	bool crowded = c->usable && c->write && is_crowded(s);
	mutex_lock(&i->lock);
	c->passes = i->passes;
	c->watched |= c->write && seal_needs_writes(seals_locked(i, c->write));
	/* data written to any other file in passthrough would not be known as local */
	c->whole = c->usable &&
	           (c->write ? i->born && !crowded : i->complete && i->size > PAGE_CACHE_MAX) &&
	           !c->watched && !c->exact && i->iomode != IOMODE_CACHED;
	mutex_unlock(&i->lock);
	c->mapped = c->usable && !c->whole && is_mapped_behind(s, i, own, c->write && !c->exact);
	c->whole |= c->mapped;
	if (!c->whole || backing_kept(s->backing, i))
		return;
	c->fd = local_open(s, i);
	if (c->fd < 0)
		c->err = -c->fd;
}

/* For an inode without handles. */
static enum iomode_kind mode_begin_locked(struct server *s, struct inode *i, struct choice *c)
        REQUIRES(i->lock)
{
	enum iomode_kind mode = IOMODE_CACHED;
	if (c->whole && (c->mapped || !c->watched) && !c->err) {
		/* A kept id may have gone since the look. */
		c->err = c->fd < 0 && !backing_kept(s->backing, i)
		                 ? EAGAIN
		                 : backing_acquire(s->backing, i, c->fd);
		if (!c->err)
			mode = IOMODE_PASSTHROUGH;
	}
	i->backing_errno = c->err;
	return mode;
}

enum iomode_kind iomode_open(struct server *s, struct inode *i, struct fuse_file_info *fi, int own,
                             bool watched, bool exact)
{
	struct choice c = {.usable = !backing_unusable(s->backing),
	                   .write = (fi->flags & O_ACCMODE) != O_RDONLY,
	                   .exact = exact,
	                   .fd = -1};
	c.watched = c.write && watched;
	choose(s, i, own, &c);
	mutex_lock(&i->lock);
	while (c.usable && !c.whole && i->iomode == IOMODE_NONE && i->passes != c.passes) {
		mutex_unlock(&i->lock); /* it was in passthrough meanwhile: look again */
		choose(s, i, own, &c);
		mutex_lock(&i->lock);
	}
	/* The file may have been sealed since the look above: before this point sealing sees no
	 * writer in passthrough, from here on it does. */
	uint32_t seals = seals_locked(i, c.write);
	c.watched |= seal_needs_writes(seals);
	if (i->iomode == IOMODE_NONE)
		i->iomode = mode_begin_locked(s, i, &c);
	enum iomode_kind mode = i->iomode;
	i->handles++;
	if (mode == IOMODE_PASSTHROUGH) {
		fi->backing_id = i->backing_id;
		/* readers have the inode in passthrough: all but mappings reaches the daemon */
		fi->direct_io = c.watched || exact;
		i->keep_cache &= !c.write; /* the page cache may become outdated */
		if ((fi->flags & O_ACCMODE) == O_RDWR)
			i->behind = i->extra->mapped_behind = true;
		i->passes++;
	} else {
		/* a write that will be refused must not show in the page cache meanwhile; stores of
		 * a mapping do not show there at all, if passthrough could not be had beside it */
		fi->direct_io = exact || seal_refuses_writes(seals) || c.mapped;
		fi->keep_cache = i->keep_cache;
		i->keep_cache = i->cached = true;
	}
	mutex_unlock(&i->lock);
	if (c.fd >= 0)
		close(c.fd);
	return mode;
}

void iomode_release(struct server *s, struct inode *i)
{
	mutex_lock(&i->lock);
	g_assert(i->handles > 0);
	if (--i->handles == 0) {
		if (i->iomode == IOMODE_PASSTHROUGH)
			backing_release(s->backing, i);
		i->iomode = IOMODE_NONE;
	}
	mutex_unlock(&i->lock);
}

bool iomode_may_pass(struct server *s, struct inode *i)
{
	mutex_lock(&i->lock);
	bool large = i->size > PAGE_CACHE_MAX;
	mutex_unlock(&i->lock);
	return large && S_ISREG(i->type) && !backing_unusable(s->backing);
}

char *iomode_reason(struct server *s, struct inode *i, bool whole)
{
	const char *unusable = backing_unusable(s->backing);
	mutex_lock(&i->lock);
	enum iomode_kind mode = i->iomode;
	bool complete = i->complete || whole;
	uint32_t handles = i->handles;
	int err = i->backing_errno;
	uint64_t size = i->size;
	mutex_unlock(&i->lock);

	if (mode == IOMODE_PASSTHROUGH)
		return NULL;
	if (!S_ISREG(i->type))
		return g_strdup("not a regular file");
	if (unusable)
		return g_strdup(unusable);
	if (size <= PAGE_CACHE_MAX)
		return g_strdup("small: up to 128 KiB the page cache makes an open cheaper");
	if (!complete)
		return g_strdup("not every chunk is present");
	if (mode == IOMODE_CACHED)
		return g_strdup_printf(
		        "%u handle%s opened before the file was complete %s still open", handles,
		        handles == 1 ? "" : "s", handles == 1 ? "is" : "are");
	if (err)
		return g_strdup_printf("the kernel refused to register the file: %s",
		                       g_strerror(err));
	return NULL;
}
