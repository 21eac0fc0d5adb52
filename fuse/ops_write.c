/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Operations that change bytes. Those of a file that is not all local are made so first. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuse/access.h"
#include "fuse/handle.h"
#include "fuse/ops.h"
#include "fuse/parked.h"

/* What takes part in a write. */
struct writing {
	int64_t offset;
	uint64_t length;
	int mode; /* of fallocate */
	int datasync;
	char bytes[];
};

/* Every byte is here: from now on they are ours. A positive errno. */
static int localise(struct server *s, struct inode *i, bool durable)
{
	int64_t ctime_ns = inode_ctime(i);
	int err = inode_keep(s, i);
	if (err || i->born)
		return err;
	struct content *c = inode_open_content(s, i);
	err = -content_open(c);
	if (err == 0)
		err = -content_localise(c, durable);
	content_unref(c);
	if (err)
		return err;
	pthread_rwlock_wrlock(&s->names);
	g_autofree char *path = inode_path_locked(i);
	i->born = true;
	int lost = tree_capability_own(s->store, path);
	if (lost)
		g_message("%s loses its capabilities: %s", path, g_strerror(-lost));
	pthread_rwlock_unlock(&s->names);
	pthread_mutex_lock(&i->lock);
	i->complete = true;
	pthread_mutex_unlock(&i->lock);
	err = inode_refresh(s, i);
	inode_hide_ctime(i, ctime_ns);
	return err;
}

int inode_discard_bytes(struct server *s, struct inode *i)
{
	return localise(s, i, false);
}

int inode_own_bytes(struct server *s, struct inode *i)
{
	return localise(s, i, true);
}

int inode_open_local(struct server *s, struct inode *i, int flags)
{
	pthread_rwlock_rdlock(&s->names);
	g_autofree char *path = inode_path_locked(i);
	int fd = tree_open(s->store, path, flags);
	/* replaced between its look-up and this: the kernel looks again */
	if (fd == -ENOENT && i->nameless)
		fd = -ESTALE;
	pthread_rwlock_unlock(&s->names);
	return fd;
}

static void local_then(struct parked *p)
{
	int fd = inode_open_local(p->server, p->inode, O_RDWR);
	if (fd >= 0) {
		p->then(p, fd);
		close(fd);
	} else {
		fuse_reply_err(p->req, -fd);
	}
	parked_free(p);
}

static void local_filled(struct parked *p, struct listing *none)
{
	int err = inode_own_bytes(p->server, p->inode);
	if (err == 0) {
		local_then(p);
		return;
	}
	fuse_reply_err(p->req, err);
	parked_free(p);
}

void parked_local(struct parked *p)
{
	struct server *s = p->server;
	struct inode *i = p->inode;
	if (i->born) {
		local_then(p);
		return;
	}
	int err = inode_keep(s, i);
	if (err == 0) {
		p->content = inode_open_content(s, i);
		err = -content_open(p->content);
	}
	if (err) {
		fuse_reply_err(p->req, err);
		parked_free(p);
		return;
	}
	p->offset = 0;
	p->size = content_size(p->content);
	p->resume = local_filled;
	if (parked_fill(p, 0))
		parked_to_disk(p);
}

int handle_local_fd(struct server *s, struct handle *h)
{
	pthread_mutex_lock(&h->lock);
	if (h->fd < 0)
		h->fd = inode_open_local(s, h->inode, h->write ? O_RDWR : O_RDONLY);
	int fd = h->fd;
	if (fd < 0)
		h->fd = -1;
	pthread_mutex_unlock(&h->lock);
	return fd;
}

static void grown(struct inode *i, uint64_t end)
{
	pthread_mutex_lock(&i->lock);
	i->size = MAX(i->size, end);
	pthread_mutex_unlock(&i->lock);
}

static void write_then(struct parked *p, int fd)
{
	struct writing *w = p->data;
	ssize_t n = pwrite(fd, w->bytes, w->length, w->offset);
	if (n < 0) {
		fuse_reply_err(p->req, errno);
		return;
	}
	grown(p->inode, w->offset + n);
	fuse_reply_write(p->req, n);
}

/* The bytes stay with the request until they are written. */
static void write_park(fuse_req_t req, struct inode *i, struct fuse_bufvec *data, off_t offset)
{
	struct server *s = fuse_req_userdata(req);
	size_t size = fuse_buf_size(data);
	struct writing *w = g_malloc(sizeof(*w) + size);
	struct fuse_bufvec to = FUSE_BUFVEC_INIT(size);
	to.buf[0].mem = w->bytes;
	ssize_t n = fuse_buf_copy(&to, data, 0);
	if (n < 0) {
		g_free(w);
		fuse_reply_err(req, -n);
		return;
	}
	w->offset = offset;
	w->length = n;
	struct parked *p = parked_new(s, req, inode_ref(s->inodes, i), NULL);
	p->data = w;
	p->then = write_then;
	parked_local(p);
}

void op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *data, off_t offset,
                  struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct handle *h = handle_get(s->handles, fi->fh);
	if (!h || !h->write || s->read_only) {
		fuse_reply_err(req, EBADF);
		return;
	}
	struct inode *i = h->inode;
	uint64_t allowed;
	int err = access_write(i, offset, fuse_buf_size(data), fi->writepage, &allowed);
	if (err) {
		fuse_reply_err(req, err);
		return;
	}
	if (!i->born) {
		write_park(req, i, data, offset);
		return;
	}
	int fd = handle_local_fd(s, h);
	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
	struct fuse_bufvec to = FUSE_BUFVEC_INIT(allowed);
	to.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK | FUSE_BUF_FD_RETRY;
	to.buf[0].fd = fd;
	to.buf[0].pos = offset;
	ssize_t n = fuse_buf_copy(&to, data, 0);
	if (n < 0) {
		fuse_reply_err(req, -n);
		return;
	}
	grown(i, offset + n);
	fuse_reply_write(req, n);
}

static void fallocate_then(struct parked *p, int fd)
{
	struct writing *w = p->data;
	int err = fallocate(fd, w->mode, w->offset, w->length) < 0 ? errno : 0;
	if (err == 0 && !(w->mode & FALLOC_FL_KEEP_SIZE))
		grown(p->inode, w->offset + w->length);
	fuse_reply_err(p->req, err);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                  struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *i = inode_get(s->inodes, ino);
	int err = !i ? ESTALE : s->read_only ? EROFS : access_fallocate(i, mode, offset, length);
	if (err) {
		fuse_reply_err(req, err);
		inode_put(s, i);
		return;
	}
	struct parked *p = parked_new(s, req, i, NULL);
	struct writing *w = g_new0(struct writing, 1);
	w->mode = mode;
	w->offset = offset;
	w->length = length;
	p->data = w;
	p->then = fallocate_then;
	parked_local(p);
}

static int sync_fd(int fd, int datasync)
{
	return (datasync ? fdatasync(fd) : fsync(fd)) < 0 ? errno : 0;
}

/* On a thread of the disk pool. */
static void fsync_run(struct parked *p, struct listing *none)
{
	struct server *s = p->server;
	struct writing *w = p->data;
	int flags = O_RDONLY | (S_ISDIR(p->inode->type) ? O_DIRECTORY : 0);
	int fd = inode_open_local(s, p->inode, flags), err = 0;
	if (fd >= 0) {
		err = sync_fd(fd, w->datasync);
		close(fd);
	} else if (fd != -ENOENT && fd != -ESTALE) { /* nothing local: nothing to sync */
		err = -fd;
	}
	fuse_reply_err(p->req, err);
	parked_free(p);
}

static void sync_start(fuse_req_t req, fuse_ino_t ino, int datasync)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *i = inode_get(s->inodes, ino);
	if (!i) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	struct parked *p = parked_new(s, req, i, NULL);
	struct writing *w = g_new0(struct writing, 1);
	w->datasync = datasync;
	p->data = w;
	p->resume = fsync_run;
	parked_to_disk(p);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	sync_start(req, ino, datasync);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	sync_start(req, ino, datasync);
}

struct copying {
	struct writing w; /* of the target */
	int in;           /* owned */
	off_t offset_in;
};

static void copy_then(struct parked *p, int fd)
{
	struct copying *c = p->data;
	off_t in = c->offset_in, out = c->w.offset;
	ssize_t n = copy_file_range(c->in, &in, fd, &out, c->w.length, 0);
	int err = errno;
	close(c->in);
	if (n < 0) {
		fuse_reply_err(p->req, err);
		return;
	}
	grown(p->inode, out);
	fuse_reply_write(p->req, n);
}

/* Of bytes that are all here; otherwise the caller reads and writes, which fetches what it
 * needs. */
void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                        struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
                        struct fuse_file_info *fi_out, size_t length, int flags)
{
	struct server *s = fuse_req_userdata(req);
	struct handle *in = handle_get(s->handles, fi_in->fh);
	struct handle *out = handle_get(s->handles, fi_out->fh);
	if (!in || !out || !out->write) {
		fuse_reply_err(req, EBADF);
		return;
	}
	uint64_t allowed;
	int err = access_write(out->inode, off_out, length, false, &allowed);
	if (err) {
		fuse_reply_err(req, err);
		return;
	}
	if (!in->inode->born || !out->inode->born) {
		fuse_reply_err(req, EXDEV);
		return;
	}
	int fd = inode_open_local(s, in->inode, O_RDONLY);
	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
	struct copying *c = g_new0(struct copying, 1);
	c->in = fd;
	c->offset_in = off_in;
	c->w.offset = off_out;
	c->w.length = allowed;
	struct parked *p = parked_new(s, req, inode_ref(s->inodes, out->inode), NULL);
	p->data = c;
	p->then = copy_then;
	parked_local(p);
}
