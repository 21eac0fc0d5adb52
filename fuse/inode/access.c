/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/access.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "fuse/inode/inode_table.h"
#include "fuse/inode/local.h"
#include "fuse/inode/names.h"
#include "fuse/inode/notify.h"
#include "fuse/inode/server.h"
#include "fuse/inode/ways.h"

static bool counts(int flags)
{
	int mode = flags & O_ACCMODE;
	return mode == O_WRONLY || mode == O_RDWR || (flags & WRITE_HANDLES_EXEC);
}

static struct inode_extra *extra_of(struct server *s, struct inode *i)
{
	rwlock_wrlock(&s->names);
	struct inode_extra *x = inode_extra_locked(s, i);
	rwlock_unlock(&s->names);
	return x;
}

uint32_t access_seals(struct inode *i)
{
	mutex_lock(&i->lock);
	uint32_t seals = i->extra ? i->extra->seals : 0;
	mutex_unlock(&i->lock);
	return seals;
}

int access_open(struct server *s, struct inode *i, int flags)
{
	if (!counts(flags))
		return 0;
	struct inode_extra *x = extra_of(s, i);
	mutex_lock(&i->lock);
	int err = seal_check_open(x->seals, flags);
	if (err == 0)
		err = write_handles_open(&x->handles, flags, s->exec_writes);
	mutex_unlock(&i->lock);
	return -err;
}

void access_release(struct server *s, struct inode *i, int flags)
{
	if (!counts(flags))
		return;
	mutex_lock(&i->lock);
	write_handles_release(&i->extra->handles, flags, s->exec_writes);
	mutex_unlock(&i->lock);
}

int access_resize(struct server *s, struct inode *i, uint64_t size)
{
	/* writers in passthrough may have extended the file unnoticed */
	int err = access_seals(i) ? inode_refresh(s, i) : 0;
	if (err)
		return err;
	mutex_lock(&i->lock);
	err = i->extra ? seal_check_truncate(i->extra->seals, i->size, size) : 0;
	mutex_unlock(&i->lock);
	return -err;
}

int access_truncate(struct server *s, struct inode *i, uint64_t size)
{
	struct inode_extra *x = extra_of(s, i);
	mutex_lock(&i->lock);
	int err = write_handles_open(&x->handles, O_WRONLY, s->exec_writes);
	if (err == 0)
		write_handles_release(&x->handles, O_WRONLY, s->exec_writes);
	mutex_unlock(&i->lock);
	return err ? -err : access_resize(s, i, size);
}

void access_begin(struct server *s)
{
	rwlock_rdlock(&s->sealing);
}

void access_end(struct server *s)
{
	rwlock_unlock(&s->sealing);
}

int access_write(struct inode *i, uint64_t offset, uint64_t length, bool writeback,
                 uint64_t *allowed)
{
	*allowed = length;
	mutex_lock(&i->lock);
	int err = i->extra && i->extra->seals ? seal_check_write(i->extra->seals, offset, length,
	                                                         i->size, writeback, allowed)
	                                      : 0;
	mutex_unlock(&i->lock);
	return -err;
}

void access_refused(struct server *s, struct inode *i)
{
	if (access_seals(i))
		notifier_inode(s->notifier, inode_id(i), true);
}

int access_chmod(struct inode *i, uint32_t mode)
{
	mutex_lock(&i->lock);
	int err = i->extra ? seal_check_chmod(i->extra->seals, i->mode, mode) : 0;
	mutex_unlock(&i->lock);
	return -err;
}

int access_fallocate(struct inode *i, int mode, uint64_t offset, uint64_t length)
{
	mutex_lock(&i->lock);
	int err =
	        i->extra ? seal_check_fallocate(i->extra->seals, mode, offset, length, i->size) : 0;
	mutex_unlock(&i->lock);
	return -err;
}

/* Is the local file open for writing, or mapped from such a descriptor? The kernel grants no read
 * lease on it then. */
static bool is_leased_out(struct server *s, struct inode *i)
{
	int fd = inode_open_local(s, i, O_RDONLY);
	if (fd < 0)
		return false;
	bool busy = fcntl(fd, F_SETLEASE, F_RDLCK) < 0 && errno == EAGAIN;
	if (!busy)
		fcntl(fd, F_SETLEASE, F_UNLCK);
	close(fd);
	return busy;
}

/* May a shared mapping exist that was made from a writable descriptor in passthrough, where it
 * outlives its handle? A write handle has the local file open as well: beside one only the past
 * tells. */
static bool is_mapped_behind(struct server *s, struct inode *i, struct inode_extra *x)
{
	if (!S_ISREG(i->type) || !i->born)
		return false;
	mutex_lock(&i->lock);
	bool doubt = x->mapped_behind;
	if (!write_handles_may_be_mapped(&x->handles))
		x->mapped_behind = false; /* a concurrent open sets it again */
	mutex_unlock(&i->lock);
	bool busy = is_leased_out(s, i);
	mutex_lock(&i->lock);
	x->mapped_behind |= busy && doubt;
	bool mapped = busy && (x->mapped_behind || !write_handles_is_written(&x->handles));
	mutex_unlock(&i->lock);
	return mapped;
}

/* With `sealers`. In memory, not yet in the store; *before: the seals until now. */
static int seals_try(struct server *s, struct inode *i, struct inode_extra *x, uint32_t wanted,
                     bool writable, uint32_t *before)
{
	bool behind = is_mapped_behind(s, i, x);
	rwlock_wrlock(&s->sealing);
	mutex_lock(&i->lock);
	bool written = write_handles_is_written(&x->handles);
	struct seal_facts facts = {
	        .mode = i->mode & 07777,
	        .writable = writable,
	        .sealable = S_ISREG(i->type),
	        .mapped = behind || write_handles_may_be_mapped(&x->handles),
	        .unseen = written && i->iomode == IOMODE_PASSTHROUGH,
	};
	*before = x->seals;
	int err = -seal_add(&x->seals, wanted, &facts);
	bool sealed = x->seals & ~*before & LACUNA_SEAL_WRITE;
	mutex_unlock(&i->lock);
	rwlock_unlock(&s->sealing);
	/* Was it opened, mapped and closed between the two looks? From here on it cannot be. */
	return sealed && is_mapped_behind(s, i, x) ? EBUSY : err;
}

static int seals_keep(struct server *s, struct inode *i, uint32_t seals)
{
	/* passthrough writes do not report the size, which the seals refer to */
	int err = inode_refresh(s, i);
	if (err)
		return err;
	struct way w;
	way_to(s, i, &w);
	err = -tree_seals_set(s->store, w.path, seals);
	way_end(s, &w);
	return err;
}

int access_keep_seals(struct server *s, struct inode *i)
{
	mutex_lock(&s->sealers);
	int err = seals_keep(s, i, access_seals(i));
	mutex_unlock(&s->sealers);
	return err;
}

int access_add_seals(struct server *s, struct inode *i, uint32_t wanted, bool writable)
{
	int err = S_ISREG(i->type) && writable ? inode_keep(s, i) : 0;
	if (err)
		return err;
	struct inode_extra *x = extra_of(s, i);
	uint32_t before;
	mutex_lock(&s->sealers);
	err = seals_try(s, i, x, wanted, writable, &before);
	uint32_t seals = access_seals(i);
	if (err == 0 && seals != before)
		err = seals_keep(s, i, seals);
	if (err) {
		mutex_lock(&i->lock);
		x->seals = before;
		mutex_unlock(&i->lock);
	}
	mutex_unlock(&s->sealers);
	return err;
}
