/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* READ and lseek: present data, or data that is fetched. */
#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>
#include "fuse/events/registry.h"
#include "fuse/inode/handle.h"
#include "fuse/ops/ops.h"
#include "fuse/ops/parked.h"
#include "fuse/ops/reply.h"
#include "lacuna/precontent.h"

#define READ_MAX (1u << 20)

static void read_opened(struct parked *p, struct listing *none);

/* The daemon is short of descriptors: opens the file later, then reads it. */
static void read_later(struct server *s, fuse_req_t req, struct inode *i, size_t size, off_t offset,
                       const struct fuse_file_info *fi)
{
	struct parked *p = parked_new(s, req, inode_ref(s->inodes, i), NULL);
	if (!i->born)
		p->content = inode_open_content(s, i);
	p->offset = offset;
	p->size = size;
	p->data = g_memdup2(fi, sizeof(*fi));
	p->resume = read_opened;
	parked_later(p, EIO);
}

/* On a thread of the disk pool. A file opened here stays open until the READ has it, too. */
static void read_opened(struct parked *p, struct listing *none)
{
	struct server *s = p->server;
	struct fuse_file_info *fi = p->data;
	struct handle *h = handle_get(s->handles, fi->fh);
	int fd = h && !p->content ? handle_local_fd(s, h) : -1;
	int err = p->content ? -content_open(p->content) : fd < 0 ? -fd : 0;
	if (h && replay_waits_for(err)) {
		parked_later(p, EIO);
		return;
	}
	op_read(p->req, inode_id(p->inode), p->size, (off_t)p->offset, fi);
	if (fd >= 0)
		handle_local_done(s, h);
	parked_free(p);
}

/* Of the thread, until it ends: READ_MAX bytes. */
static char *read_buffer(void)
{
	static GPrivate own = G_PRIVATE_INIT(g_free);
	char *buffer = g_private_get(&own);
	if (!buffer) {
		buffer = g_malloc(READ_MAX);
		g_private_set(&own, buffer);
	}
	return buffer;
}

/* Data of a fully local file, up to its end. */
static void read_local(struct server *s, fuse_req_t req, struct handle *h, size_t size,
                       off_t offset, const struct fuse_file_info *fi)
{
	int fd = handle_local_fd(s, h);
	if (replay_waits_for(-fd)) {
		read_later(s, req, h->inode, size, offset, fi);
		return;
	}
	if (fd < 0) {
		replay_fail(req, -fd);
		return;
	}
	char *buffer = read_buffer();
	size_t done = 0;
	ssize_t n = 1;
	while (done < size && n > 0) {
		n = pread(fd, buffer + done, size - done, offset + (off_t)done);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			done += (size_t)n;
	}
	if (n < 0 && done == 0)
		reply_err(req, errno);
	else
		reply_buf(req, buffer, done);
	handle_local_done(s, h); /* the slot may be another open's by now, and `uses` continues */
}

/* Replies with present data. `wait`: this thread may block on the disk. false: it would, or the
 * file has another place by now. */
static bool read_reply(struct server *s, fuse_req_t req, struct content *c, uint64_t offset,
                       size_t size, bool wait)
{
	const struct inode *i = content_owner(c);
	bool ends = i->mixed || i->born || (wait && content_local(c)); /* it may be truncated */
	char *buffer = read_buffer();
	uint64_t base;
	int fd = content_read_fd(c, offset, size, &base);
	size_t done = 0;
	if (fd == -EAGAIN)
		return false;
	while (done < size) {
		struct iovec iov = {.iov_base = buffer + done, .iov_len = size - done};
		ssize_t n = preadv2(fd, &iov, 1, base + offset + done, wait ? 0 : RWF_NOWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0 && ends)
			break;
		if (n <= 0) {
			if (!wait)
				return false;
			/* Present, but the disk cannot give it: never a short reply, which would be
			 * a false end of file. */
			reply_err(req, n < 0 ? errno : EIO);
			return true;
		}
		done += n;
	}
	reply_buf(req, buffer, done);
	return true;
}

static void read_fail(struct parked *p, int error);
static void read_begin(struct parked *p, uint64_t ahead);

static void read_present(struct parked *p, struct listing *none)
{
	if (read_reply(p->server, p->req, p->content, p->offset, p->size, true))
		parked_free(p);
	else
		read_begin(p, 0);
}

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

/* ECANCELED: the range it waited for was written or truncated meanwhile: reads it as it is now.
 * ESTALE: another file has the name, and the opened one no longer exists at the source. */
static void read_fail(struct parked *p, int error)
{
	bool later = p->goes_on || replay_waits_for(error);
	if (error != ECANCELED && !later) {
		reply_err(p->req, error == ESTALE ? EIO : error);
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
	anew->needs = p->needs;
	anew->seen = p->seen;
	if (later)
		parked_later(anew, error);
	else
		parked_to_disk(anew);
}

static uint64_t file_size(struct inode *i, struct content *c)
{
	mutex_lock(&i->lock);
	uint64_t size = i->mixed ? i->size : content_size(c);
	mutex_unlock(&i->lock);
	return size;
}

/* The content of a handle, a reference; opens it again if its descriptors were taken. If the source
 * has replaced the file, the new one's data may be at its name by now. */
static struct content *read_content(struct server *s, struct handle *h, int *err)
{
	mutex_lock(&h->lock);
	bool opens = !h->content;
	*err = 0;
	if (opens)
		h->content = inode_content(s, h->inode, true, err);
	if (opens && h->content && h->version && content_read_version(h->content) != h->version) {
		content_unref(g_steal_pointer(&h->content));
		*err = -ESTALE;
	}
	if (*err == -ESTALE)
		*err = -EIO;
	struct content *c = h->content ? content_ref(h->content) : NULL;
	mutex_unlock(&h->lock);
	if (c && opens)
		handle_hold(s->handles, h);
	return c;
}

/* Fetches absent data. Takes over the reference. */
static void read_absent(struct server *s, fuse_req_t req, struct inode *i, struct content *c,
                        size_t size, off_t offset, uint64_t ahead, bool asked)
{
	bool present = content_present(c, offset, size);
	if (!present)
		__atomic_add_fetch(&s->counters.read_misses, 1, __ATOMIC_RELAXED);
	struct parked *p = parked_new(s, req, inode_ref(s->inodes, i), NULL);
	p->content = c;
	p->offset = offset;
	p->size = size;
	p->operation = LACUNA_READ;
	p->needs = size + (UINT64_C(1) << store_chunk_shift(s->store));
	p->resume = read_present;
	p->fail = read_fail;
	int over = present ? 0 : parked_again(p);
	if (over) {
		parked_fail(p, over);
		return;
	}
	/* A parked request may be answered, and the file closed and forgotten. */
	bool walks = !present && !asked && offset == 0 && !content_packed(c);
	struct inode *first = walks ? inode_ref(s->inodes, i) : NULL;
	if (present && ahead == 0)
		parked_to_disk(p);
	else
		read_begin(p, ahead);
	if (first) {
		prefetch_siblings(s, first);
		inode_put(s, first);
	}
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct handle *h = handle_get(s->handles, fi->fh);
	if (!h || offset < 0 || size > READ_MAX) {
		reply_err(req, h ? EINVAL : EBADF);
		return;
	}
	struct inode *i = h->inode;
	if (i->born) {
		read_local(s, req, h, size, offset, fi);
		return;
	}
	int err;
	struct content *c = read_content(s, h, &err);
	uint64_t total = c ? file_size(i, c) : 0;
	if (!c || (uint64_t)offset >= total) {
		if (c)
			reply_buf(req, NULL, 0);
		else if (replay_waits_for(-err))
			read_later(s, req, i, size, offset, fi);
		else
			replay_fail(req, -err);
		g_clear_pointer(&c, content_unref);
		return;
	}
	size = MIN(size, total - offset);
	bool complete = content_complete(c),
	     asked = !complete && registry_want(s->handlers, i, false);
	uint64_t ahead = 0;
	mutex_lock(&h->lock);
	if (!complete && !asked)
		ahead = readahead_next(&h->ra, offset, size, s->settings->readahead_max);
	mutex_unlock(&h->lock);
	if (content_present(c, offset, size) && ahead == 0 &&
	    read_reply(s, req, c, offset, size, false))
		content_unref(c);
	else
		read_absent(s, req, i, c, size, offset, ahead, asked);
}

/* Absent data is no hole: data up to the end (cp --sparse would lose it otherwise). */
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct handle *h = handle_get(s->handles, fi->fh);
	if (!h) {
		reply_err(req, EBADF);
		return;
	}
	if (h->inode->born) {
		int fd = handle_local_fd(s, h);
		off_t at = fd < 0 ? fd : lseek(fd, offset, whence);
		int err = fd < 0 ? -fd : errno;
		if (fd >= 0)
			handle_local_done(s, h);
		if (at < 0)
			replay_fail(req, err);
		else
			reply_lseek(req, at);
		return;
	}
	mutex_lock(&h->inode->lock);
	off_t size = h->inode->size;
	mutex_unlock(&h->inode->lock);
	if (offset < 0 || offset >= size)
		reply_err(req, ENXIO);
	else
		reply_lseek(req, whence == SEEK_HOLE ? size : offset);
}
