/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Mode every: operations on files that a handler wants to be asked for, whatever is present. Each
 * waits for its verdict; the handler's data is written to the file like a local write; then the
 * operation continues.
 * Ranges:  as the kernel rounds them: whole pages, not cut off at the end of the file
 * Source:  fsnotify_file_area_perm(), fsnotify_truncate_perm() in the kernel
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fetch/source/wrap/supplied.h"
#include "fuse/events/registry.h"
#include "fuse/inode/access.h"
#include "fuse/inode/handle.h"
#include "fuse/inode/notify.h"
#include "fuse/ops/ops.h"
#include "fuse/ops/parked.h"
#include "fuse/ops/reply.h"

#define PAGE UINT64_C(4096)

/* An operation's arguments, until it continues. */
struct watched {
	void (*run)(struct parked *p);
	fuse_ino_t ino, ino_out;
	struct fuse_file_info fi, fi_out;
	bool has_fi, cached;
	off_t offset, offset_out;
	size_t length;
	int mode, to_set;
	struct stat attr;
	int fd; /* owned; the handler's data; -1: none */
	char bytes[];
};

/* One extent of the handler's data, on its way into the file. */
struct bringing {
	struct changing c; /* first */
	struct parked *p;  /* the waiting operation */
};

static struct watched *watched_of(struct parked *p)
{
	return p->data;
}

static void bring_next(struct parked *p, uint64_t from);

/* Seals forbid this change like any other; a program that runs the file does not. */
static int bring_permit(struct parked *p)
{
	struct bringing *b = p->data;
	return access_write(p->inode, b->c.from, b->c.count, false, &b->c.count);
}

static int64_t bring_change(int fd, void *user)
{
	struct bringing *b = user;
	g_autofree char *piece = g_malloc(MIN(b->c.count, UINT64_C(1) << 20));
	for (uint64_t done = 0; done < b->c.count;) {
		size_t n = MIN(b->c.count - done, UINT64_C(1) << 20);
		int err = supplied_read(watched_of(b->p)->fd, b->c.from + done, piece, n);
		ssize_t written = err ? -1 : pwrite(fd, piece, n, (off_t)(b->c.from + done));
		if (written < 0)
			return -(err ? err : errno);
		done += (size_t)written;
	}
	return (int64_t)b->c.count;
}

static void watched_fail(struct parked *p, int error)
{
	close(watched_of(p)->fd);
	registry_committed(p->server->handlers, &p->event, error);
	parked_fail(p, error);
}

static void bring_failed(struct parked *bringer, int error)
{
	watched_fail(((struct bringing *)bringer->data)->p, error);
}

static void bring_reply(struct parked *bringer, int64_t n)
{
	struct bringing *b = bringer->data;
	if (n < 0)
		bring_failed(bringer, (int)-n);
	else
		bring_next(b->p, b->c.from + b->c.count);
}

static void watched_go(struct parked *p)
{
	struct watched *w = p->data;
	int fd = w->fd;
	if (fd >= 0)
		registry_committed(p->server->handlers, &p->event, 0);
	w->run(p);
	if (fd >= 0) /* no request waits for this */
		close(fd);
}

/* Writes the next extent, or continues the operation. */
static void bring_next(struct parked *p, uint64_t from)
{
	struct server *s = p->server;
	struct inode *i = p->inode;
	struct extent e;
	mutex_lock(&i->lock);
	uint64_t size = i->size;
	mutex_unlock(&i->lock);
	if (!supplied_next(watched_of(p)->fd, from, size, &e)) {
		/* Drops the pages of other handles; but not after a fault, which waits for one of
		 * them: it would fault again, and be asked again. */
		if (from > 0 && p->operation != LACUNA_FAULT)
			notifier_inode(s->notifier, inode_id(i), true);
		watched_go(p);
		return;
	}
	uint64_t allowed;
	int err = access_write(i, e.offset, e.end - e.offset, false, &allowed);
	if (err) {
		watched_fail(p, err);
		return;
	}
	struct bringing *b = g_new0(struct bringing, 1);
	b->c = (struct changing){.from = e.offset,
	                         .count = e.end - e.offset,
	                         .permit = bring_permit,
	                         .change = bring_change,
	                         .reply = bring_reply};
	b->p = p;
	struct parked *bringer = parked_new(s, p->req, inode_ref(s->inodes, i), NULL);
	bringer->data = b;
	bringer->fail = bring_failed;
	parked_change(bringer);
}

static void allowed(struct parked *p, struct listing *none)
{
	struct watched *w = p->data;
	w->fd = p->event.fd;
	if (w->fd >= 0)
		bring_next(p, 0);
	else
		watched_go(p);
}

static uint64_t page_down(uint64_t n)
{
	return n & ~(PAGE - 1);
}

/* Waits for the verdict on this range, then runs the operation. Takes over `w`. */
static void ask(fuse_req_t req, struct inode *i, uint32_t operation, uint64_t offset,
                uint64_t length, struct watched *w)
{
	struct server *s = fuse_req_userdata(req);
	struct parked *p = parked_new(s, req, inode_ref(s->inodes, i), NULL);
	uint64_t from = page_down(offset), end = page_down(offset + length + PAGE - 1);
	w->fd = -1;
	p->data = w;
	p->operation = operation;
	p->resume = allowed;
	if (!parked_ask(p, from, end - from, w->cached))
		watched_go(p);
}

/* The handle, if a handler watches it. */
static struct handle *watched_handle(fuse_req_t req, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct handle *h = fi && registry_any(s->handlers) ? handle_get(s->handles, fi->fh) : NULL;
	return h && h->watched ? h : NULL;
}

static struct watched *watched_new(void (*run)(struct parked *p), fuse_ino_t ino,
                                   const struct fuse_file_info *fi, off_t offset, size_t length,
                                   size_t bytes)
{
	struct watched *w = g_malloc0(sizeof(*w) + bytes);
	w->run = run;
	w->ino = ino;
	w->offset = offset;
	w->length = length;
	w->has_fi = fi;
	if (fi)
		w->fi = *fi;
	return w;
}

static void read_run(struct parked *p)
{
	struct watched *w = p->data;
	op_read(p->req, w->ino, w->length, w->offset, &w->fi);
	parked_free(p);
}

void watched_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                  struct fuse_file_info *fi)
{
	struct handle *h = watched_handle(req, fi);
	if (!h) {
		op_read(req, ino, size, offset, fi);
		return;
	}
	struct watched *w = watched_new(read_run, ino, fi, offset, size, 0);
	uint32_t operation = h->flags & WRITE_HANDLES_EXEC ? LACUNA_EXEC : LACUNA_READ;
	/* Direct I/O names its owner; a READ into the page cache, which has none, is for a fault,
	 * splice(2) or execve(2). */
	w->cached = fi->lock_owner == 0;
	if (w->cached)
		operation = event_operation(fuse_req_ctx(req)->pid, LACUNA_FAULT);
	ask(req, h->inode, operation, (uint64_t)offset, size, w);
}

static void write_run(struct parked *p)
{
	struct watched *w = p->data;
	struct fuse_bufvec data = FUSE_BUFVEC_INIT(w->length);
	data.buf[0].mem = w->bytes;
	op_write_buf(p->req, w->ino, &data, w->offset, &w->fi);
	parked_free(p);
}

void watched_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *data, off_t offset,
                       struct fuse_file_info *fi)
{
	struct handle *h = watched_handle(req, fi);
	if (!h || fi->writepage) {
		op_write_buf(req, ino, data, offset, fi);
		return;
	}
	size_t size = fuse_buf_size(data);
	struct watched *w = watched_new(write_run, ino, fi, offset, size, size);
	struct fuse_bufvec to = FUSE_BUFVEC_INIT(size);
	to.buf[0].mem = w->bytes;
	ssize_t n = fuse_buf_copy(&to, data, 0);
	if (n < 0) {
		g_free(w);
		reply_err(req, (int)-n);
		return;
	}
	w->length = (size_t)n;
	ask(req, h->inode, LACUNA_WRITE, (uint64_t)offset, (uint64_t)n, w);
}

static void fallocate_run(struct parked *p)
{
	struct watched *w = p->data;
	op_fallocate(p->req, w->ino, w->mode, w->offset, (off_t)w->length, &w->fi);
	parked_free(p);
}

void watched_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                       struct fuse_file_info *fi)
{
	struct handle *h = watched_handle(req, fi);
	if (!h) {
		op_fallocate(req, ino, mode, offset, length, fi);
		return;
	}
	struct watched *w = watched_new(fallocate_run, ino, fi, offset, (size_t)length, 0);
	w->mode = mode;
	ask(req, h->inode, LACUNA_ALLOCATE, (uint64_t)offset, (uint64_t)length, w);
}

static void setattr_run(struct parked *p)
{
	struct watched *w = p->data;
	op_setattr(p->req, w->ino, &w->attr, w->to_set, w->has_fi ? &w->fi : NULL);
	parked_free(p);
}

/* open(2) with O_TRUNC arrives as a truncation by path, but the kernel's handlers get no such
 * event. */
static bool is_open(fuse_req_t req)
{
	switch (event_syscall(fuse_req_ctx(req)->pid)) {
#ifdef SYS_open
	case SYS_open:
	case SYS_creat:
#endif
	case SYS_openat:
	case SYS_openat2:
		return true;
	default:
		return false;
	}
}

void watched_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                     struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct handle *h = watched_handle(req, fi);
	bool by_path = !fi && (to_set & FUSE_SET_ATTR_SIZE) && registry_any(s->handlers);
	struct inode *i = h         ? inode_ref(s->inodes, h->inode)
	                  : by_path ? inode_get(s->inodes, ino)
	                            : NULL;
	bool asks = i && (to_set & FUSE_SET_ATTR_SIZE) &&
	            (h || (S_ISREG(i->type) && registry_want(s->handlers, i, true))) &&
	            !(attr->st_size == 0 && by_path && is_open(req));
	if (asks) {
		struct watched *w = watched_new(setattr_run, ino, fi, 0, 0, 0);
		uint64_t size = (uint64_t)attr->st_size;
		w->attr = *attr;
		w->to_set = to_set;
		ask(req, i, LACUNA_TRUNCATE, size, size % PAGE ? 1 : 0, w);
	} else {
		op_setattr(req, ino, attr, to_set, fi);
	}
	inode_put(s, i);
}

static void copy_run(struct parked *p)
{
	struct watched *w = p->data;
	op_copy_file_range(p->req, w->ino, w->offset, &w->fi, w->ino_out, w->offset_out, &w->fi_out,
	                   w->length, w->mode);
	parked_free(p);
}

/* The read was allowed: asks for the write. */
static void copy_write(struct parked *p)
{
	struct watched *w = p->data;
	struct handle *out = watched_handle(p->req, &w->fi_out);
	if (!out) {
		copy_run(p);
		return;
	}
	struct watched *next = g_memdup2(w, sizeof(*w));
	next->run = copy_run;
	ask(p->req, out->inode, LACUNA_WRITE, (uint64_t)w->offset_out, w->length, next);
	parked_free(p);
}

/* Files that are not fully local are not copied here: the caller reads and writes, and handlers are
 * asked then. */
void watched_copy_file_range(fuse_req_t req, fuse_ino_t ino, off_t offset,
                             struct fuse_file_info *fi, fuse_ino_t ino_out, off_t offset_out,
                             struct fuse_file_info *fi_out, size_t length, int flags)
{
	struct handle *in = watched_handle(req, fi), *out = watched_handle(req, fi_out);
	if ((!in && !out) || (in && !in->inode->born) || (out && !out->inode->born)) {
		op_copy_file_range(req, ino, offset, fi, ino_out, offset_out, fi_out, length,
		                   flags);
		return;
	}
	struct watched *w = watched_new(in ? copy_write : copy_run, ino, fi, offset, length, 0);
	w->ino_out = ino_out;
	w->fi_out = *fi_out;
	w->offset_out = offset_out;
	w->mode = flags;
	if (in)
		ask(req, in->inode, LACUNA_READ, (uint64_t)offset, length, w);
	else
		ask(req, out->inode, LACUNA_WRITE, (uint64_t)offset_out, length, w);
}
