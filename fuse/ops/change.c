/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* How data of a file becomes local: chunk by chunk where it changes; all at once where that is
 * impossible, or where every chunk is present. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "fetch/store/file/flusher.h"
#include "fuse/inode/access.h"
#include "fuse/ops/ops.h"
#include "fuse/ops/parked.h"

/* Makes the whole file local: every chunk is present, or no data is left. A positive errno. */
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
	bool local = content_local(c);
	content_unref(c);
	if (err == 0 && !local && durable)
		err = EIO; /* otherwise the caller would retry forever */
	if (err == 0 && !local)
		i->mixed = true;
	if (err || !local)
		return err;
	struct move m = {.i = i}; /* moves nothing, but no way finds it half born */
	move_begin(s, &m);
	rwlock_wrlock(&s->names);
	i->born = true;
	rwlock_unlock(&s->names);
	int lost = tree_capability_own(s->store, m.from);
	if (lost)
		g_message("/%s: its file capabilities cannot be kept: %s", m.from,
		          g_strerror(-lost));
	move_end(s, &m);
	mutex_lock(&i->lock);
	i->complete = true;
	mutex_unlock(&i->lock);
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

static void local_then(struct parked *p)
{
	int fd = inode_open_local(p->server, p->inode, O_RDWR);
	if (fd >= 0) {
		p->then(p, fd);
		close(fd);
	} else {
		replay_fail(p->req, -fd);
	}
	parked_free(p);
}

static void local_filled(struct parked *p, struct listing *none)
{
	int err = inode_own_bytes(p->server, p->inode);
	if (err == EAGAIN) { /* evicted again */
		content_unref(g_steal_pointer(&p->content));
		parked_local(p);
		return;
	}
	if (err == 0)
		local_then(p);
	else
		parked_fail(p, err);
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
		replay_fail(p->req, err);
		parked_free(p);
		return;
	}
	p->offset = 0;
	p->size = content_size(p->content);
	p->resume = local_filled;
	if (parked_fill(p, 0))
		parked_to_disk(p);
}

/* Some data of the file is local now, or all. */
static int change_took(struct server *s, struct inode *i, struct content *c)
{
	if (content_local(c))
		return inode_discard_bytes(s, i); /* the previous data is on the disk already */
	i->mixed = true;
	flusher_wake(s->flusher);
	return 0;
}

/* Returns the bytes written, or -errno. */
static int64_t change_now(struct parked *p)
{
	struct server *s = p->server;
	struct inode *i = p->inode;
	struct changing *w = p->data;
	access_begin(s);
	int64_t n = -w->permit(p);
	if (n == 0 && i->born) {
		int fd = inode_open_local(s, i, O_RDWR);
		n = fd < 0 ? fd : w->change(fd, w);
		if (fd >= 0)
			close(fd);
	} else if (n == 0) {
		n = content_change(p->content, w->from, w->count, w->change, w);
	}
	access_end(s);
	return n;
}

/* Fetches the chunks that are covered in part, one at a time; then changes all at once. */
static void change_step(struct parked *p, struct listing *none)
{
	struct server *s = p->server;
	struct inode *i = p->inode;
	struct changing *w = p->data;
	if (!i->born && content_complete(p->content)) {
		int err = inode_own_bytes(s, i);
		if (parked_waits_for(p, err)) {
			parked_later(p, err);
			return;
		}
		if (err && err != EAGAIN) { /* EAGAIN: evicted meanwhile */
			parked_fail(p, err);
			return;
		}
	}
	if (!i->born && content_lacks(p->content, w->from, w->count, &p->offset, &p->size)) {
		if (parked_fill(p, 0))
			parked_to_disk(p);
		return;
	}
	bool partly = !i->born;
	int64_t n = change_now(p);
	if (partly && n == -EAGAIN) {
		parked_to_disk(p);
		return;
	}
	if (partly && n >= 0) {
		int err = change_took(s, i, p->content);
		n = err ? -err : n;
	}
	if (n < 0 && parked_waits_for(p, -n)) { /* the same bytes to the same place */
		parked_later(p, -n);
		return;
	}
	w->reply(p, n);
	parked_free(p);
}

static void change_again(struct parked *p, struct listing *none)
{
	g_clear_pointer(&p->content, content_unref);
	parked_change(p);
}

void parked_change(struct parked *p)
{
	struct inode *i = p->inode;
	int err = i->born ? 0 : inode_keep(p->server, i);
	if (err == 0 && !i->born) {
		p->content = inode_open_content(p->server, i);
		err = -content_open(p->content);
	}
	if (parked_waits_for(p, err)) {
		p->resume = change_again;
		parked_later(p, err);
		return;
	}
	if (err) {
		parked_fail(p, err);
		return;
	}
	p->resume = change_step;
	parked_to_disk(p);
}

/* On a thread of the disk pool. */
static void truncate_step(struct parked *p, struct listing *none)
{
	access_begin(p->server);
	int err = -access_resize(p->server, p->inode, p->size);
	if (err == 0)
		err = content_truncate(p->content, p->size);
	access_end(p->server);
	if (err == -EAGAIN) {
		content_unref(g_steal_pointer(&p->content));
		parked_local(p);
		return;
	}
	if (err == 0)
		err = -change_took(p->server, p->inode, p->content);
	if (err)
		replay_fail(p->req, -err);
	else
		p->then(p, -1);
	parked_free(p);
}

void parked_truncate(struct parked *p, uint64_t size)
{
	struct inode *i = p->inode;
	if (i->born) {
		parked_local(p);
		return;
	}
	p->content = inode_open_content(p->server, i);
	int err = -content_open(p->content);
	if (err) {
		parked_fail(p, err);
		return;
	}
	p->size = size;
	p->resume = truncate_step;
	parked_to_disk(p);
}
