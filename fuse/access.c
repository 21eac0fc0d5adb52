/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/access.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "fuse/handle.h"
#include "fuse/names.h"
#include "fuse/notify.h"
#include "fuse/ops.h"
#include "fuse/parked.h"
#include "fuse/server.h"

static bool counts(int flags)
{
	int mode = flags & O_ACCMODE;
	return mode == O_WRONLY || mode == O_RDWR || (flags & WRITE_HANDLES_EXEC);
}

static struct inode_extra *extra_of(struct server *s, struct inode *i)
{
	pthread_rwlock_wrlock(&s->names);
	struct inode_extra *x = inode_extra_locked(i);
	pthread_rwlock_unlock(&s->names);
	return x;
}

uint32_t access_seals(struct inode *i)
{
	pthread_mutex_lock(&i->lock);
	uint32_t seals = i->extra ? i->extra->seals : 0;
	pthread_mutex_unlock(&i->lock);
	return seals;
}

int access_open(struct server *s, struct inode *i, int flags)
{
	if (!counts(flags))
		return 0;
	struct inode_extra *x = extra_of(s, i);
	pthread_mutex_lock(&i->lock);
	int err = seal_check_open(x->seals, flags);
	if (err == 0)
		err = write_handles_open(&x->handles, flags, s->exec_writes);
	pthread_mutex_unlock(&i->lock);
	return -err;
}

void access_release(struct server *s, struct inode *i, int flags)
{
	if (!counts(flags))
		return;
	pthread_mutex_lock(&i->lock);
	write_handles_release(&i->extra->handles, flags, s->exec_writes);
	pthread_mutex_unlock(&i->lock);
}

int access_resize(struct server *s, struct inode *i, uint64_t size)
{
	/* writers in passthrough may have made it larger than anybody was told */
	int err = access_seals(i) ? inode_refresh(s, i) : 0;
	if (err)
		return err;
	pthread_mutex_lock(&i->lock);
	err = i->extra ? seal_check_truncate(i->extra->seals, i->size, size) : 0;
	pthread_mutex_unlock(&i->lock);
	return -err;
}

int access_truncate(struct server *s, struct inode *i, uint64_t size)
{
	struct inode_extra *x = extra_of(s, i);
	pthread_mutex_lock(&i->lock);
	int err = write_handles_open(&x->handles, O_WRONLY, s->exec_writes);
	if (err == 0)
		write_handles_release(&x->handles, O_WRONLY, s->exec_writes);
	pthread_mutex_unlock(&i->lock);
	return err ? -err : access_resize(s, i, size);
}

void access_begin(struct server *s)
{
	pthread_rwlock_rdlock(&s->sealing);
}

void access_end(struct server *s)
{
	pthread_rwlock_unlock(&s->sealing);
}

int access_write(struct inode *i, uint64_t offset, uint64_t length, bool writeback,
                 uint64_t *allowed)
{
	*allowed = length;
	pthread_mutex_lock(&i->lock);
	int err = i->extra && i->extra->seals ? seal_check_write(i->extra->seals, offset, length,
	                                                         i->size, writeback, allowed)
	                                      : 0;
	pthread_mutex_unlock(&i->lock);
	return -err;
}

void access_refused(struct server *s, struct inode *i)
{
	if (access_seals(i))
		notifier_inode(s->notifier, inode_id(i), true);
}

int access_chmod(struct inode *i, uint32_t mode)
{
	pthread_mutex_lock(&i->lock);
	int err = i->extra ? seal_check_chmod(i->extra->seals, i->mode, mode) : 0;
	pthread_mutex_unlock(&i->lock);
	return -err;
}

int access_fallocate(struct inode *i, int mode, uint64_t offset, uint64_t length)
{
	pthread_mutex_lock(&i->lock);
	int err =
	        i->extra ? seal_check_fallocate(i->extra->seals, mode, offset, length, i->size) : 0;
	pthread_mutex_unlock(&i->lock);
	return -err;
}

/* Does a shared mapping live that was made from a writable descriptor? In passthrough no handle
 * tells, but the local file does: nobody gets a read lease on what may be written. */
static bool written_behind(struct server *s, struct inode *i)
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

static int seals_add(struct server *s, struct inode *i, uint32_t wanted, bool writable)
{
	int err = S_ISREG(i->type) && writable ? inode_keep(s, i) : 0;
	if (err)
		return err;
	struct inode_extra *x = extra_of(s, i);
	bool behind = S_ISREG(i->type) && i->born && written_behind(s, i);
	pthread_rwlock_wrlock(&s->sealing);
	pthread_mutex_lock(&i->lock);
	bool passthrough = i->iomode == IOMODE_PASSTHROUGH;
	struct seal_facts facts = {
	        .mode = i->mode & 07777,
	        .writable = writable,
	        .sealable = S_ISREG(i->type),
	        .mapped = write_handles_may_be_mapped(&x->handles) ||
	                  (behind && !write_handles_is_written(&x->handles)),
	        .unseen = passthrough && write_handles_is_written(&x->handles),
	};
	uint32_t seals = x->seals, before = seals;
	err = -seal_add(&seals, wanted, &facts);
	if (err == 0)
		x->seals = seals;
	pthread_mutex_unlock(&i->lock);
	pthread_rwlock_unlock(&s->sealing);
	if (err)
		return err;
	pthread_rwlock_rdlock(&s->names);
	g_autofree char *path = inode_path_locked(i);
	err = -tree_seals_set(s->store, path, seals);
	pthread_rwlock_unlock(&s->names);
	if (err) {
		pthread_mutex_lock(&i->lock);
		x->seals = before;
		pthread_mutex_unlock(&i->lock);
	}
	return err;
}

/* On a thread of the disk pool. */
static void sync_run(struct parked *p, struct listing *none)
{
	int err = -store_sync(p->server->store);
	if (err)
		fuse_reply_err(p->req, err);
	else
		fuse_reply_ioctl(p->req, 0, NULL, 0);
	parked_free(p);
}

void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
              struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
              size_t out_size)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *i = inode_get(s->inodes, ino);
	uint32_t seals;
	if (!i) {
		fuse_reply_err(req, ESTALE);
	} else if (cmd == LACUNA_ADD_SEALS && in_size >= sizeof(seals)) {
		memcpy(&seals, in, sizeof(seals));
		struct handle *h = S_ISREG(i->type) ? handle_get(s->handles, fi->fh) : NULL;
		int err = s->read_only ? EROFS
		                       : seals_add(s, i, seals, h && seal_flags_writable(h->flags));
		if (err)
			fuse_reply_err(req, err);
		else
			fuse_reply_ioctl(req, 0, NULL, 0);
	} else if (cmd == LACUNA_GET_SEALS && out_size >= sizeof(seals)) {
		seals = access_seals(i);
		if (S_ISREG(i->type))
			fuse_reply_ioctl(req, 0, &seals, sizeof(seals));
		else
			fuse_reply_err(req, EINVAL);
	} else if (cmd == LACUNA_SYNC) {
		struct parked *p = parked_new(s, req, inode_ref(s->inodes, i), NULL);
		p->resume = sync_run;
		parked_to_disk(p);
	} else {
		fuse_reply_err(req, ENOTTY);
	}
	inode_put(s, i);
}
