/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "fetch/store/disk/lru.h"
#include "fuse/events/registry.h"
#include "fuse/inode/access.h"
#include "fuse/inode/adoption.h"
#include "fuse/inode/claim.h"
#include "fuse/inode/departure.h"
#include "fuse/inode/handle.h"
#include "fuse/inode/iomode.h"
#include "fuse/inode/notify.h"
#include "fuse/ops/ops.h"
#include "fuse/ops/parked.h"
#include "fuse/ops/release.h"
#include "fuse/ops/reply.h"
#include "fuse/ops/setid.h"
#include "lacuna/precontent.h"

struct content *inode_content(struct server *s, struct inode *i, bool open, int *err)
{
	struct content *c = inode_open_content(s, i);
	*err = content_open(c);
	i->number = *err ? 0 : content_number(c);
	bool lasts = *err == 0 && content_lasts(c);
	source_version version = *err == 0 ? content_read_version(c) : 0;
	mutex_lock(&i->lock);
	/* The version of the kernel's pages is unknown. If the file is open, they were dropped
	 * before, and dropping them would block on a page that another caller waits for, even if
	 * this one is killed. Of concurrent first opens, one may be told to drop pages that another
	 * already reads: there is nothing to drop. */
	if (*err == 0 && version == 0 && i->handles == 0) {
		i->keep_cache &= !i->cached;
		i->version = 0;
	}
	bool other_bytes = version && i->version && version != i->version;
	bool other_version = *err == 0 && !i->local && (content_size(c) != i->size || other_bytes);
	if (version && (i->handles == 0 || i->version == 0)) /* an open file has one version */
		i->version = version;
	if (other_version) {
		/* The cached data takes precedence over a newer listing: the kernel looks it up
		 * again. */
		if (!other_bytes || i->handles == 0)
			i->size = content_size(c);
		i->resend_size = 1; /* the look-up that follows comes after the notice */
		i->keep_cache = false;
		*err = -ESTALE;
	} else if (lasts) {
		i->complete = true;
	}
	mutex_unlock(&i->lock);
	/* A thread notifies the kernel about pages, which drops the attributes once more, perhaps
	 * while a reply with new ones is on its way: the kernel then keeps an old size. */
	if (other_version) {
		__atomic_store_n(&s->refused_ns, clock_now(), __ATOMIC_RELAXED);
		inode_list_held(s, i);
		notifier_inode(s->notifier, inode_id(i), open);
	}
	if (*err == 0)
		return c;
	content_unref(c);
	return NULL;
}

/* A complete file that is opened for writing becomes local now, for passthrough hides writes; a
 * complete mixed file has no other way to passthrough. Blocks where that takes a sync. */
static int open_own(struct server *s, struct inode *i, bool write, int *fd)
{
	mutex_lock(&i->lock);
	bool complete = i->complete;
	mutex_unlock(&i->lock);
	int err = complete && !i->born && (write || i->mixed) ? inode_own_bytes(s, i) : 0;
	if (err || !i->born || !write)
		return err;
	*fd = inode_open_local(s, i, O_RDWR);
	return -MIN(*fd, 0);
}

static void open_again(struct parked *p, struct listing *none);

struct opening {
	fuse_req_t req;
	struct inode *inode;
	struct fuse_file_info *fi;
	int64_t began_ns; /* one deadline for all waits of the open; 0: none yet */
};

/* The open begins anew when it is resumed. */
static struct parked *open_park(const struct opening *o)
{
	struct server *s = fuse_req_userdata(o->req);
	struct parked *p = parked_new(s, o->req, inode_ref(s->inodes, o->inode), NULL);
	p->data = g_memdup2(o->fi, sizeof(*o->fi));
	p->resume = open_again;
	if (o->began_ns)
		p->began_ns = o->began_ns;
	return p;
}

static void open_fail(const struct opening *o, uint64_t visited, int err)
{
	struct inode *i = o->inode;
	struct server *s = fuse_req_userdata(o->req);
	if (visited)
		store_visit_end(s->store, visited);
	claims_leave(i);
	access_release(s, i, o->fi->flags);
	replay_fail(o->req, err);
	inode_put(s, i);
}

/* The kernel takes the size of the file from its last reply with attributes. If none was made since
 * the size changed, the open is of an older one: a look-up whose reply was on its way, which no
 * notice reaches. The kernel looks the name up once more, after the notice. An append goes where
 * the kernel believes that the file ends: one such reply may still be on its way. */
static bool opens_blindly(struct server *s, struct inode *i, int flags)
{
	bool append = (flags & O_APPEND) && (flags & O_ACCMODE) != O_RDONLY;
	mutex_lock(&i->lock);
	bool blindly = i->resend_size == INODE_RESEND_SIZE || (append && i->resend_size > 0);
	i->resend_size = MIN(i->resend_size, 1);
	mutex_unlock(&i->lock);
	if (blindly)
		notifier_inode(s->notifier, inode_id(i), false);
	return blindly;
}

/* Another inode that has the name now may share the local file: until the handle is closed, the
 * visit keeps that one from evicting the data. Returns the visit's number; 0: none. */
static uint64_t visit(struct server *s, struct inode *i)
{
	uint64_t number = i->number;
	bool known = !number || store_visit(s->store, number);
	if (!known) { /* its data may have been evicted just now */
		mutex_lock(&i->lock);
		i->complete = i->born;
		mutex_unlock(&i->lock);
	}
	return number;
}

/* An admitted open; takes over the reference. */
static void open_run(const struct opening *o)
{
	fuse_req_t req = o->req;
	struct inode *i = o->inode;
	struct fuse_file_info *fi = o->fi;
	struct server *s = fuse_req_userdata(req);
	int mode = fi->flags & O_ACCMODE, fd = -1;
	bool write = mode == O_WRONLY || mode == O_RDWR;
	int err = opens_blindly(s, i, fi->flags) ? ESTALE : open_own(s, i, write, &fd);
	struct content *c = NULL;
	uint64_t visited = err || i->born ? 0 : visit(s, i);
	mutex_lock(&i->lock);
	bool complete = i->complete && (visited || i->born || i->size == 0), ahead = i->ahead;
	mutex_unlock(&i->lock);
	if (!err && !complete) {
		c = inode_content(s, i, false, &err);
		err = -err;
	}
	if (err) {
		if (fd >= 0)
			close(fd);
		open_fail(o, visited, err);
		return;
	}
	if (!visited && c)
		visited = visit(s, i);
	bool watched = registry_want(s->handlers, i, true);
	enum iomode_kind iomode = iomode_open(s, i, fi, fd, write && setid_watched(i, fd), watched);
	if (iomode == IOMODE_PASSTHROUGH && write && !i->born) {
		/* The file became complete just now, and its readers have it in passthrough. */
		err = open_own(s, i, true, &fd);
		if (err) {
			iomode_release(s, i);
			if (c)
				content_unref(c);
			open_fail(o, visited, err);
			return;
		}
	}
	claims_leave(i);
	if (iomode == IOMODE_PASSTHROUGH && c) {
		content_unref(c);
		c = NULL;
	}
	if (iomode == IOMODE_PASSTHROUGH && fd >= 0) {
		close(fd); /* the kernel has its own */
		fd = -1;
	}
	if (ahead)
		prefetch_siblings(s, i);
	if (visited)
		store_lru_touch(s->store, visited);
	fi->fh = handle_open(s, i, c, fd, fi->flags, iomode, watched, replay_unique());
	if (visited)
		handle_visit(s->handles, fi->fh, visited);
	if (reply_open(req, fi) == -ENOENT)
		handle_release(s, handle_get(s->handles, fi->fh)); /* no RELEASE will come */
}

/* On a thread of the disk pool. */
static void open_resumed(struct parked *p, struct listing *none)
{
	const struct opening o = {p->req, inode_ref(p->server->inodes, p->inode), p->data,
	                          p->began_ns};
	open_run(&o);
	parked_free(p);
}

/* Takes over the reference. */
static void open_begin(const struct opening *o)
{
	struct inode *i = o->inode;
	struct server *s = fuse_req_userdata(o->req);
	int flags = o->fi->flags;
	bool write = (flags & O_ACCMODE) == O_WRONLY || (flags & O_ACCMODE) == O_RDWR;
	if (!claims_enter(i)) {
		parked_claimed(open_park(o));
		inode_put(s, i);
		return;
	}
	int err = inode_is_gone(s, i)             ? ESTALE
	          : handle_table_full(s->handles) ? ENFILE
	                                          : access_open(s, i, flags);
	if (err) {
		claims_leave(i);
		replay_fail(o->req, err);
		inode_put(s, i);
		return;
	}
	mutex_lock(&i->lock);
	bool sync = i->complete && !i->born && (write || i->mixed);
	mutex_unlock(&i->lock);
	if (!sync) {
		open_run(o);
		return;
	}
	struct parked *p = open_park(o);
	p->resume = open_resumed;
	parked_to_disk(p);
	inode_put(s, i);
}

/* On a thread of the disk pool, too. */
static void open_again(struct parked *p, struct listing *none)
{
	const struct opening o = {p->req, inode_ref(p->server->inodes, p->inode), p->data,
	                          p->began_ns};
	open_begin(&o);
	parked_free(p);
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *i = inode_get(s->inodes, ino);
	int mode = fi->flags & O_ACCMODE;
	bool write = mode == O_WRONLY || mode == O_RDWR;
	int err = !i ? ESTALE : !S_ISREG(i->type) ? EINVAL : write && s->read_only ? EROFS : 0;
	if (!err) {
		open_begin(&(struct opening){req, i, fi, 0});
		return;
	}
	replay_fail(req, err);
	inode_put(s, i);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct handle *h = handle_get(s->handles, fi->fh);
	if (h)
		handle_release(s, h);
	reply_err(req, h ? 0 : EBADF);
}
