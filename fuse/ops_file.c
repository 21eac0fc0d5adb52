/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "fuse/access.h"
#include "fuse/claim.h"
#include "fuse/departure.h"
#include "fuse/handle.h"
#include "fuse/handlers.h"
#include "fuse/iomode.h"
#include "fuse/notify.h"
#include "fuse/ops.h"
#include "fuse/parked.h"
#include "fuse/setid.h"
#include "lacuna/precontent.h"

#define READ_MAX (1u << 20)

/* The content of `i`, a reference; a negative errno in *err where the store fails. `open`: it is
 * open already, and may have pages; else the open drops them. */
static struct content *content_get(struct server *s, struct inode *i, bool open, int *err)
{
	struct content *c = inode_open_content(s, i);
	*err = content_open(c);
	bool lasts = *err == 0 && content_lasts(c);
	pthread_mutex_lock(&i->lock);
	/* Of which version is what the kernel has? Where somebody has it open it was dropped then,
	 * and the kernel would wait for a page that he waits for, whatever kills the caller. */
	if (*err == 0 && content_version(c) == 0 && i->handles == 0)
		i->keep_cache = false;
	bool other_version = *err == 0 && !i->local && content_size(c) != i->size;
	if (other_version) {
		/* What we hold counts, not what was listed since: the kernel looks it up again. */
		i->size = content_size(c);
		i->untold = 1; /* the look-up that follows comes after the notice */
		i->keep_cache = false;
		*err = -ESTALE;
	} else if (lasts) {
		i->complete = true;
	}
	pthread_mutex_unlock(&i->lock);
	/* Of pages the kernel is told by a thread, and loses the attributes once more, perhaps
	 * while those it has just asked for are on their way: it then goes on with an old size. */
	if (other_version) {
		inode_list_held(s, i);
		notifier_inode(s->notifier, inode_id(i), open);
	}
	if (*err == 0)
		return c;
	content_unref(c);
	return NULL;
}

/* What is whole and opened for writing is ours from now on, for passthrough hides what is written;
 * what is whole and in part ours already has no other way to passthrough. Blocks where that takes
 * a sync. */
static int open_own(struct server *s, struct inode *i, bool write, int *fd)
{
	pthread_mutex_lock(&i->lock);
	bool complete = i->complete;
	pthread_mutex_unlock(&i->lock);
	int err = complete && !i->born && (write || i->mixed) ? inode_own_bytes(s, i) : 0;
	if (err || !i->born || !write)
		return err;
	*fd = inode_open_local(s, i, O_RDWR);
	return -MIN(*fd, 0);
}

static void open_again(struct parked *p, struct listing *none);

static void open_fail(fuse_req_t req, struct inode *i, int flags, int err)
{
	struct server *s = fuse_req_userdata(req);
	claims_leave(i);
	access_release(s, i, flags);
	fuse_reply_err(req, err);
	inode_put(s, i);
}

/* The kernel appends where it thinks that the file ends: of an end that it may not have heard of it
 * looks the name up once more, after the notice. */
static bool appends_blindly(struct inode *i, int flags)
{
	if (!(flags & O_APPEND) || (flags & O_ACCMODE) == O_RDONLY)
		return false;
	pthread_mutex_lock(&i->lock);
	bool untold = i->untold > 0;
	i->untold = untold;
	pthread_mutex_unlock(&i->lock);
	return untold;
}

/* An open that was let in; the reference is taken over. */
static void open_run(fuse_req_t req, struct inode *i, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	int mode = fi->flags & O_ACCMODE, fd = -1;
	bool write = mode == O_WRONLY || mode == O_RDWR;
	int err = appends_blindly(i, fi->flags) ? ESTALE : open_own(s, i, write, &fd);
	struct content *c = NULL;
	pthread_mutex_lock(&i->lock);
	bool complete = i->complete, ahead = i->ahead;
	pthread_mutex_unlock(&i->lock);
	if (!err && !complete) {
		c = content_get(s, i, false, &err);
		err = -err;
	}
	if (err) {
		open_fail(req, i, fi->flags, err);
		return;
	}
	bool watched = handlers_want(s->handlers, i, true);
	enum iomode_kind iomode = iomode_open(s, i, fi, fd, write && setid_watched(i, fd), watched);
	if (iomode == IOMODE_PASSTHROUGH && write && !i->born) {
		/* It became whole just now, and its readers have it in passthrough. */
		err = open_own(s, i, true, &fd);
		if (err) {
			iomode_release(s, i);
			if (c)
				content_unref(c);
			open_fail(req, i, fi->flags, err);
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
	fi->fh = handle_open(s, i, c, fd, fi->flags, watched);
	if (fuse_reply_open(req, fi) == -ENOENT)
		handle_release(s, handle_get(s->handles, fi->fh)); /* no RELEASE will come */
}

/* On a thread of the disk pool. */
static void open_resumed(struct parked *p, struct listing *none)
{
	open_run(p->req, inode_ref(p->server->inodes, p->inode), p->data);
	parked_free(p);
}

struct opening {
	fuse_req_t req;
	struct inode *inode;
	struct fuse_file_info *fi;
};

static struct parked *open_park(void *user)
{
	struct opening *o = user;
	struct parked *p = parked_new(fuse_req_userdata(o->req), o->req, o->inode, NULL);
	p->data = g_memdup2(o->fi, sizeof(*o->fi));
	p->resume = open_again;
	return p;
}

/* The reference is taken over. */
static void open_begin(fuse_req_t req, struct inode *i, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	bool write = (fi->flags & O_ACCMODE) == O_WRONLY || (fi->flags & O_ACCMODE) == O_RDWR;
	struct opening opening = {req, i, fi};
	if (!claims_enter(s, i, open_park, &opening))
		return;
	int err = inode_is_gone(s, i) ? ESTALE : access_open(s, i, fi->flags);
	if (err) {
		claims_leave(i);
		fuse_reply_err(req, err);
		inode_put(s, i);
		return;
	}
	pthread_mutex_lock(&i->lock);
	bool sync = i->complete && !i->born && (write || i->mixed);
	pthread_mutex_unlock(&i->lock);
	if (!sync) {
		open_run(req, i, fi);
		return;
	}
	struct parked *p = open_park(&opening);
	p->resume = open_resumed;
	parked_to_disk(p);
}

/* On a thread of the disk pool, too. */
static void open_again(struct parked *p, struct listing *none)
{
	open_begin(p->req, inode_ref(p->server->inodes, p->inode), p->data);
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
		open_begin(req, i, fi);
		return;
	}
	fuse_reply_err(req, err);
	inode_put(s, i);
}

void handle_release(struct server *s, struct handle *h)
{
	struct inode *i = h->inode;
	/* what was written through a mapping */
	bool unseen = h->write && i->iomode == IOMODE_PASSTHROUGH;
	iomode_release(s, i);
	access_release(s, i, h->flags);
	pthread_mutex_lock(&i->lock);
	bool outdated = i->outdated && i->handles == 0;
	pthread_mutex_unlock(&i->lock);
	/* Looked up anew, it can take the newer version. */
	if (outdated) {
		g_autofree char *name = NULL;
		struct inode *parent = inode_parent(s, i, &name);
		notifier_entry(s->notifier, inode_id(parent), name);
		inode_put(s, parent);
	}
	if (unseen)
		notifier_inode(s->notifier, inode_id(i), false);
	handle_close(s, h);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct handle *h = handle_get(s->handles, fi->fh);
	if (h)
		handle_release(s, h);
	fuse_reply_err(req, h ? 0 : EBADF);
}

/* Bytes of a file that is all local: what there is up to its end. */
static void read_local(struct server *s, fuse_req_t req, struct handle *h, size_t size,
                       off_t offset)
{
	int fd = handle_local_fd(s, h);
	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
	struct fuse_bufvec data = FUSE_BUFVEC_INIT(size);
	data.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK | FUSE_BUF_FD_RETRY;
	data.buf[0].fd = fd;
	data.buf[0].pos = offset;
	__atomic_add_fetch(&s->bytes_from_store, size, __ATOMIC_RELAXED);
	fuse_reply_data(req, &data, FUSE_BUF_NO_SPLICE);
}

/* Replies with bytes that are present. `wait`: this thread may block on the disk. */
static bool read_reply(struct server *s, fuse_req_t req, struct content *c, uint64_t offset,
                       size_t size, bool wait)
{
	const struct inode *i = content_owner(c);
	bool ends = i->mixed || i->born || (wait && content_local(c)); /* it may be cut off */
	static GPrivate own = G_PRIVATE_INIT(g_free); /* of the thread, until it ends */
	char *buffer = g_private_get(&own);
	if (!buffer) {
		buffer = g_malloc(READ_MAX);
		g_private_set(&own, buffer);
	}
	int fd = content_fd(c);
	size_t done = 0;
	while (done < size) {
		struct iovec iov = {.iov_base = buffer + done, .iov_len = size - done};
		ssize_t n = preadv2(fd, &iov, 1, offset + done, wait ? 0 : RWF_NOWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0 && ends)
			break;
		if (n <= 0) {
			if (!wait)
				return false;
			/* Present, but the disk cannot give it: never a short reply, which would
			 * be a false end of file. */
			fuse_reply_err(req, n < 0 ? errno : EIO);
			return true;
		}
		done += n;
	}
	__atomic_add_fetch(&s->bytes_from_store, done, __ATOMIC_RELAXED);
	fuse_reply_buf(req, buffer, done);
	return true;
}

static void read_present(struct parked *p, struct listing *none)
{
	read_reply(p->server, p->req, p->content, p->offset, p->size, true);
	parked_free(p);
}

static void read_fail(struct parked *p, int error);

static void read_begin(struct parked *p, uint64_t ahead)
{
	p->resume = read_present;
	p->fail = read_fail;
	if (parked_fill(p, ahead)) {
		if (ahead > 0 &&
		    read_reply(p->server, p->req, p->content, p->offset, p->size, false))
			parked_free(p);
		else
			parked_to_disk(p);
	}
}

/* On a thread of the disk pool. */
static void read_anew(struct parked *p, struct listing *none)
{
	if (content_local(p->content))
		read_present(p, none);
	else
		read_begin(p, 0);
}

/* ECANCELED: what it waited for was written here meanwhile, or cut off: as it is now. ESTALE: its
 * name has another file, and the one that was opened is no more at the source. */
static void read_fail(struct parked *p, int error)
{
	if (error != ECANCELED) {
		fuse_reply_err(p->req, error == ESTALE ? EIO : error);
		return;
	}
	struct server *s = p->server;
	struct parked *anew = parked_new(s, p->req, inode_ref(s->inodes, p->inode), NULL);
	anew->content = content_ref(p->content);
	anew->offset = p->offset;
	anew->size = p->size;
	anew->operation = p->operation;
	anew->began_ns = p->began_ns;
	anew->resume = read_anew;
	parked_to_disk(anew);
}

static uint64_t file_size(struct inode *i, struct content *c)
{
	pthread_mutex_lock(&i->lock);
	uint64_t size = i->mixed ? i->size : content_size(c);
	pthread_mutex_unlock(&i->lock);
	return size;
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct handle *h = handle_get(s->handles, fi->fh);
	if (!h || offset < 0 || size > READ_MAX) {
		fuse_reply_err(req, h ? EINVAL : EBADF);
		return;
	}
	struct inode *i = h->inode;
	if (i->born) {
		read_local(s, req, h, size, offset);
		return;
	}
	pthread_mutex_lock(&h->lock);
	int err = 0;
	if (!h->content)
		h->content = content_get(s, i, true, &err);
	struct content *c = h->content;
	uint64_t total = c ? file_size(i, c) : 0;
	if (c && (uint64_t)offset < total) {
		size = MIN(size, total - offset);
	} else {
		pthread_mutex_unlock(&h->lock);
		if (c)
			fuse_reply_buf(req, NULL, 0);
		else
			fuse_reply_err(req, -err);
		return;
	}
	uint64_t ahead = 0;
	bool complete = content_complete(c),
	     asked = !complete && handlers_want(s->handlers, i, false);
	if (!complete && !asked)
		ahead = readahead_next(&h->ra, offset, size, s->settings->readahead_max);
	pthread_mutex_unlock(&h->lock);

	bool present = content_present(c, offset, size);
	if (present && ahead == 0 && read_reply(s, req, c, offset, size, false))
		return;
	struct parked *p = parked_new(s, req, inode_ref(s->inodes, i), NULL);
	p->content = content_ref(c);
	p->offset = offset;
	p->size = size;
	p->operation = LACUNA_READ;
	p->resume = read_present;
	p->fail = read_fail;
	int over = present ? 0 : parked_again(p);
	if (over) {
		parked_fail(p, over);
		return;
	}
	/* Once it is parked, it may be answered, and the file closed and forgotten. */
	struct inode *first = !present && !asked && offset == 0 ? inode_ref(s->inodes, i) : NULL;
	if (present && ahead == 0)
		parked_to_disk(p);
	else
		read_begin(p, ahead);
	if (first) {
		prefetch_siblings(s, first);
		inode_put(s, first);
	}
}

/* What is absent is no hole: data up to the end (cp --sparse would lose it otherwise). */
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct handle *h = handle_get(s->handles, fi->fh);
	if (!h) {
		fuse_reply_err(req, EBADF);
		return;
	}
	if (h->inode->born) {
		int fd = handle_local_fd(s, h);
		off_t at = fd < 0 ? -1 : lseek(fd, offset, whence);
		if (at < 0)
			fuse_reply_err(req, fd < 0 ? -fd : errno);
		else
			fuse_reply_lseek(req, at);
		return;
	}
	pthread_mutex_lock(&h->inode->lock);
	off_t size = h->inode->size;
	pthread_mutex_unlock(&h->inode->lock);
	if (offset < 0 || offset >= size)
		fuse_reply_err(req, ENXIO);
	else
		fuse_reply_lseek(req, whence == SEEK_HOLE ? size : offset);
}
