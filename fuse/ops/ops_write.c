/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Operations that change data. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuse/inode/access.h"
#include "fuse/inode/handle.h"
#include "fuse/inode/twin.h"
#include "fuse/ops/ops.h"
#include "fuse/ops/parked.h"
#include "fuse/ops/reply.h"
#include "fuse/ops/setid.h"

/* The arguments of a change. */
struct writing {
	struct changing c; /* first */
	int64_t offset;
	uint64_t length, wanted; /* what the seals allow; what was requested */
	int mode;                /* of fallocate */
	bool mapped;
	int datasync;
	struct handle *handle; /* of an fsync; lives until the reply */
	char bytes[];
};

int handle_local_fd(struct server *s, struct handle *h)
{
	mutex_lock(&h->lock);
	int flags = h->write ? O_RDWR : O_RDONLY;
	int spare = s->noatime || (h->flags & O_NOATIME) ? O_NOATIME : 0;
	if (h->fd < 0)
		h->fd = inode_open_local(s, h->inode, flags | spare);
	if (h->fd == -EPERM && spare) /* not the daemon's file: O_NOATIME is for its owner */
		h->fd = inode_open_local(s, h->inode, flags);
	int fd = h->fd;
	if (fd < 0)
		h->fd = -1;
	h->uses += fd >= 0;
	mutex_unlock(&h->lock);
	if (fd >= 0)
		handle_hold(s->handles, h);
	return fd;
}

void handle_local_done(struct server *s, struct handle *h)
{
	mutex_lock(&h->lock);
	h->uses--;
	mutex_unlock(&h->lock);
}

static int write_permit(struct parked *p)
{
	struct writing *w = p->data;
	int err = access_write(p->inode, w->offset, w->length, w->mapped, &w->length);
	w->c.count = w->length;
	return err;
}

static int64_t write_change(int fd, void *user)
{
	struct writing *w = user;
	ssize_t n = pwrite(fd, w->bytes, w->length, w->offset);
	return n < 0 ? -errno : n;
}

static void write_answer(struct parked *p, int64_t n)
{
	struct writing *w = p->data;
	if (n == -EPERM || (n >= 0 && n < (int64_t)w->wanted))
		access_refused(p->server, p->inode);
	if (n < 0) {
		replay_fail(p->req, -n);
		return;
	}
	inode_grown(p->inode, w->offset + n);
	twin_changed(p->server, p->inode);
	reply_write(p->req, n);
}

/* The request keeps the data until it is written. */
static void write_park(fuse_req_t req, struct inode *i, struct fuse_bufvec *data, off_t offset,
                       bool mapped)
{
	struct server *s = fuse_req_userdata(req);
	size_t size = fuse_buf_size(data);
	struct writing *w = g_malloc(sizeof(*w) + size);
	struct fuse_bufvec to = FUSE_BUFVEC_INIT(size);
	to.buf[0].mem = w->bytes;
	ssize_t n = fuse_buf_copy(&to, data, 0);
	if (n < 0) {
		g_free(w);
		replay_fail(req, -n);
		return;
	}
	w->offset = offset;
	w->length = w->wanted = n;
	struct parked *p = parked_new(s, req, inode_ref(s->inodes, i), NULL);
	p->needs = n;
	w->mapped = mapped;
	w->c = (struct changing){.from = offset,
	                         .count = n,
	                         .permit = write_permit,
	                         .change = write_change,
	                         .reply = write_answer};
	p->data = w;
	parked_change(p);
}

void op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *data, off_t offset,
                  struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct handle *h = handle_get(s->handles, fi->fh);
	if (!h || !h->write || s->read_only) {
		reply_err(req, EBADF);
		return;
	}
	struct inode *i = h->inode;
	uint64_t allowed;
	int err = access_write(i, offset, fuse_buf_size(data), fi->writepage, &allowed);
	if (err)
		access_refused(s, i);
	else
		err = setid_write(req, i, fi);
	if (err) {
		replay_fail(req, err);
		return;
	}
	bool born = i->born;
	int fd = born ? handle_local_fd(s, h) : -1;
	if (!born || replay_waits_for(-fd)) {
		write_park(req, i, data, offset, fi->writepage);
		return;
	}
	if (fd < 0) {
		replay_fail(req, -fd);
		return;
	}
	access_begin(s);
	err = access_write(i, offset, fuse_buf_size(data), fi->writepage, &allowed);
	struct fuse_bufvec to = FUSE_BUFVEC_INIT(allowed);
	to.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK | FUSE_BUF_FD_RETRY;
	to.buf[0].fd = fd;
	to.buf[0].pos = offset;
	ssize_t n = err ? -err : fuse_buf_copy(&to, data, 0);
	if (n > 0) {
		inode_grown(i, offset + n);
		twin_changed(s, i);
	}
	access_end(s);
	handle_local_done(s, h);
	if (err || allowed < fuse_buf_size(data))
		access_refused(s, i);
	if (n < 0)
		replay_fail(req, -n);
	else
		reply_write(req, n);
}

static int fallocate_permit(struct parked *p)
{
	struct writing *w = p->data;
	return access_fallocate(p->inode, w->mode, w->offset, w->length);
}

static int64_t fallocate_change(int fd, void *user)
{
	struct writing *w = user;
	return fallocate(fd, w->mode, w->offset, w->length) < 0 ? -errno : (int64_t)w->length;
}

static void fallocate_answer(struct parked *p, int64_t n)
{
	struct writing *w = p->data;
	if (n >= 0 && !(w->mode & FALLOC_FL_KEEP_SIZE))
		inode_grown(p->inode, w->offset + w->length);
	inode_changed(p->inode);
	twin_changed(p->server, p->inode);
	reply_err(p->req, n < 0 ? -n : 0);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                  struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *i = inode_get(s->inodes, ino);
	int err = !i ? ESTALE : s->read_only ? EROFS : access_fallocate(i, mode, offset, length);
	/* Linux 6.18 sends no other modes: FUSE cannot move ranges */
	if (!err && (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)))
		err = EOPNOTSUPP;
	if (err) {
		replay_fail(req, err);
		inode_put(s, i);
		return;
	}
	struct parked *p = parked_new(s, req, i, NULL);
	struct writing *w = g_new0(struct writing, 1);
	w->mode = mode;
	w->offset = offset;
	w->length = length;
	w->c = (struct changing){.from = offset,
	                         .count = length,
	                         .permit = fallocate_permit,
	                         .change = fallocate_change,
	                         .reply = fallocate_answer};
	p->data = w;
	if (!(mode & FALLOC_FL_PUNCH_HOLE))
		p->needs = length;
	if (!(mode & ~FALLOC_FL_KEEP_SIZE)) /* no data changes */
		w->c = (struct changing){.from = INT64_MAX,
		                         .permit = fallocate_permit,
		                         .change = fallocate_change,
		                         .reply = fallocate_answer};
	parked_change(p);
}

/* On a thread of the disk pool. */
static void fsync_run(struct parked *p, struct listing *none)
{
	struct server *s = p->server;
	struct writing *w = p->data;
	if (p->inode->mixed && !p->inode->born) {
		struct content *c = inode_open_content(s, p->inode);
		int failed = content_open(c);
		if (failed == 0)
			failed = content_sync(c, w->datasync);
		content_unref(c);
		replay_fail(p->req, -failed);
		parked_free(p);
		return;
	}
	int flags = O_RDONLY | (S_ISDIR(p->inode->type) ? O_DIRECTORY : 0);
	int fd = inode_open_local(s, p->inode, flags), err = 0;
	if (fd >= 0) {
		uint32_t now = store_sync_failures(s->store);
		err = -store_sync_fd(s->store, fd, w->datasync,
		                     w->handle ? &w->handle->sync_failures : &now);
		close(fd);
	} else if (fd != -ENOENT && fd != -ESTALE) { /* nothing local: nothing to sync */
		err = -fd;
	}
	replay_fail(p->req, err);
	parked_free(p);
}

static void sync_start(fuse_req_t req, fuse_ino_t ino, int datasync, struct handle *h)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *i = inode_get(s->inodes, ino);
	if (!i) {
		reply_err(req, ESTALE);
		return;
	}
	struct parked *p = parked_new(s, req, i, NULL);
	struct writing *w = g_new0(struct writing, 1);
	w->datasync = datasync;
	w->handle = h;
	p->data = w;
	p->resume = fsync_run;
	parked_to_disk(p);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	sync_start(req, ino, datasync, handle_get(s->handles, fi->fh));
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	sync_start(req, ino, datasync, NULL);
}

struct copying {
	struct writing w;  /* of the target */
	struct handle *in; /* lives until the request is answered */
	off_t offset_in;
};

static void copy_then(struct parked *p, int fd)
{
	struct copying *c = p->data;
	off_t in = c->offset_in, out = c->w.offset;
	int from = handle_local_fd(p->server, c->in);
	access_begin(p->server);
	int err = from < 0 ? -from : access_write(p->inode, out, c->w.length, false, &c->w.length);
	ssize_t n = err ? -1 : copy_file_range(from, &in, fd, &out, c->w.length, 0);
	if (n < 0 && !err)
		err = errno;
	access_end(p->server);
	if (from >= 0)
		handle_local_done(p->server, c->in);
	if (n < 0) {
		replay_fail(p->req, err);
		return;
	}
	inode_grown(p->inode, out);
	twin_changed(p->server, p->inode);
	reply_write(p->req, n);
}

/* For fully local files; otherwise the caller reads and writes, which fetches the data it needs. */
void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                        struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
                        struct fuse_file_info *fi_out, size_t length, int flags)
{
	struct server *s = fuse_req_userdata(req);
	struct handle *in = handle_get(s->handles, fi_in->fh);
	struct handle *out = handle_get(s->handles, fi_out->fh);
	if (!in || !out || !out->write) {
		reply_err(req, EBADF);
		return;
	}
	uint64_t allowed;
	int err = access_write(out->inode, off_out, length, false, &allowed);
	if (err) {
		replay_fail(req, err);
		return;
	}
	if (!in->inode->born || !out->inode->born) {
		reply_err(req, EXDEV);
		return;
	}
	struct copying *c = g_new0(struct copying, 1);
	c->in = in;
	c->offset_in = off_in;
	c->w.offset = off_out;
	c->w.length = allowed;
	struct parked *p = parked_new(s, req, inode_ref(s->inodes, out->inode), NULL);
	p->data = c;
	p->then = copy_then;
	parked_local(p);
}
