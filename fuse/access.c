/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/access.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
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

/* Is the local file open for writing, or mapped by who had it so? Nobody gets a read lease on what
 * may be written. */
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

/* May a shared mapping live that was made from a writable descriptor, in passthrough, where it
 * outlives its handle? A handle for writing has the local file open as well: with one of those
 * it is the past that tells. */
static bool is_mapped_behind(struct server *s, struct inode *i, struct inode_extra *x)
{
	if (!S_ISREG(i->type) || !i->born)
		return false;
	pthread_mutex_lock(&i->lock);
	bool doubt = x->mapped_behind;
	if (!write_handles_may_be_mapped(&x->handles))
		x->mapped_behind = false; /* an open meanwhile says so again */
	pthread_mutex_unlock(&i->lock);
	bool busy = is_leased_out(s, i);
	pthread_mutex_lock(&i->lock);
	x->mapped_behind |= busy && doubt;
	bool mapped = busy && (x->mapped_behind || !write_handles_is_written(&x->handles));
	pthread_mutex_unlock(&i->lock);
	return mapped;
}

/* With `sealers`. Here, not yet in the store; *before: what there was. */
static int seals_try(struct server *s, struct inode *i, struct inode_extra *x, uint32_t wanted,
                     bool writable, uint32_t *before)
{
	bool behind = is_mapped_behind(s, i, x);
	pthread_rwlock_wrlock(&s->sealing);
	pthread_mutex_lock(&i->lock);
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
	pthread_mutex_unlock(&i->lock);
	pthread_rwlock_unlock(&s->sealing);
	/* Opened, mapped and closed between the two looks? From here on it cannot be. */
	return sealed && is_mapped_behind(s, i, x) ? EBUSY : err;
}

static int seals_keep(struct server *s, struct inode *i, uint32_t seals)
{
	/* what was written in passthrough told nobody of the size, which the seals speak of */
	int err = inode_refresh(s, i);
	if (err)
		return err;
	pthread_rwlock_rdlock(&s->names);
	g_autofree char *path = inode_path_locked(i);
	err = -tree_seals_set(s->store, path, seals);
	pthread_rwlock_unlock(&s->names);
	return err;
}

static int seals_add(struct server *s, struct inode *i, uint32_t wanted, bool writable)
{
	int err = S_ISREG(i->type) && writable ? inode_keep(s, i) : 0;
	if (err)
		return err;
	struct inode_extra *x = extra_of(s, i);
	uint32_t before;
	pthread_mutex_lock(&s->sealers);
	err = seals_try(s, i, x, wanted, writable, &before);
	uint32_t seals = access_seals(i);
	if (err == 0 && seals != before)
		err = seals_keep(s, i, seals);
	if (err) {
		pthread_mutex_lock(&i->lock);
		x->seals = before;
		pthread_mutex_unlock(&i->lock);
	}
	pthread_mutex_unlock(&s->sealers);
	return err;
}

struct adding {
	uint32_t seals;
	bool writable;
};

/* On a thread of the disk pool, as the next. */
static void add_run(struct parked *p, struct listing *none)
{
	struct adding *a = p->data;
	int err = p->server->read_only ? EROFS
	                               : seals_add(p->server, p->inode, a->seals, a->writable);
	if (err)
		fuse_reply_err(p->req, err);
	else
		fuse_reply_ioctl(p->req, 0, NULL, 0);
	parked_free(p);
}

static void sync_run(struct parked *p, struct listing *none)
{
	int err = -store_sync(p->server->store);
	if (err)
		fuse_reply_err(p->req, err);
	else
		fuse_reply_ioctl(p->req, 0, NULL, 0);
	parked_free(p);
}

/* The flags of chattr(1). None is kept: the local file cannot have what would keep it from being
 * filled, and the kernel does not enforce for us what it does not know. false: another request. */
static bool flags_answer(fuse_req_t req, unsigned cmd, const void *in, size_t in_size,
                         size_t out_size)
{
	const struct fsxattr none = {0};
	const uint32_t no_flags = 0;
	bool same;
	if (cmd == FS_IOC_GETFLAGS && out_size >= sizeof(no_flags)) {
		fuse_reply_ioctl(req, 0, &no_flags, sizeof(no_flags));
		return true;
	}
	if (cmd == FS_IOC_FSGETXATTR && out_size >= sizeof(none)) {
		fuse_reply_ioctl(req, 0, &none, sizeof(none));
		return true;
	}
	if (cmd == FS_IOC_SETFLAGS && in_size >= sizeof(no_flags))
		same = memcmp(in, &no_flags, sizeof(no_flags)) == 0;
	else if (cmd == FS_IOC_FSSETXATTR && in_size >= sizeof(none))
		same = memcmp(in, &none, sizeof(none)) == 0;
	else
		return false;
	if (same)
		fuse_reply_ioctl(req, 0, NULL, 0);
	else
		fuse_reply_err(req, EOPNOTSUPP);
	return true;
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
		struct handle *h = S_ISREG(i->type) ? handle_get(s->handles, fi->fh) : NULL;
		struct adding *a = g_new(struct adding, 1);
		memcpy(&a->seals, in, sizeof(a->seals));
		a->writable = h && seal_flags_writable(h->flags);
		struct parked *p = parked_new(s, req, inode_ref(s->inodes, i), NULL);
		p->data = a;
		p->resume = add_run;
		parked_to_disk(p);
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
	} else if (!flags_answer(req, cmd, in, in_size, out_size)) {
		fuse_reply_err(req, ENOTTY);
	}
	inode_put(s, i);
}
