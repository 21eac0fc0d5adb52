/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "fuse/inode/numbers.h"
#include "fuse/inode/walked.h"
#include "fuse/ops/ops.h"
#include "fuse/ops/parked.h"
#include "fuse/ops/reply.h"

/* Offsets: 1 is past ".", 2 past "..", cookie + 2 past an entry */
#define DOTS 2

/* st_ino and type of a local name; a positive errno if it is transient (replay.h). */
static int local_number(struct server *s, struct inode *dir, const char *name, struct stat *st)
{
	struct tree_node node;
	struct way w;
	way_to_child(s, dir, name, NULL, &w);
	int err = tree_look(s->store, w.path, &node);
	way_end(s, &w);
	if (err)
		return replay_waits_for(-err) ? -err : 0;
	st->st_ino = numbers_shown(s->numbers, node.st.st_ino);
	st->st_mode = node.st.st_mode;
	tree_node_clear(&node);
	return 0;
}

/* The inode of an entry, with a kernel lookup; NULL: the kernel looks it up when it needs it. */
static struct inode *entry_inode(struct parked *p, struct listing *l,
                                 const struct directory_entry *de)
{
	struct server *s = p->server;
	struct listing_entry entry;
	int err;
	if (de->local)
		return child_local(s, p->inode, de->name, true, NULL, &err);
	directory_entry(inode_open_directory(s, p->inode), l, de->index, &entry);
	if (S_ISREG(entry.mode) && !(entry.flags & LISTING_SIZE_EXACT))
		return NULL;
	return inode_listed_as(s, p->inode, de->name, &entry, true, &err);
}

/* Adds one entry to the buffer; returns its size, which may be more than is left. For an entry
 * without an inode the kernel requests attributes when a caller wants them. */
static size_t entry_add(struct parked *p, char *buf, size_t left, struct listing *l,
                        const struct directory_entry *de, int *err)
{
	struct server *s = p->server;
	off_t next = (off_t)de->position + DOTS;
	/* an unknown number is not 0, which means that nothing is there */
	uint64_t ino = de->local ? s->numbers ? UINT32_MAX : UINT64_MAX
	                         : numbers_shown(s->numbers, listing_at(l, de->index)->ino);
	struct fuse_entry_param e = {.attr = {.st_ino = ino, .st_mode = de->type}};
	if (!p->plus) {
		if (de->local)
			*err = local_number(s, p->inode, de->name, &e.attr);
		return fuse_add_direntry(p->req, buf, left, de->name, &e.attr, next);
	}
	size_t size = fuse_add_direntry_plus(p->req, NULL, 0, de->name, &e, next);
	if (size > left)
		return size;
	struct inode *i = entry_inode(p, l, de);
	if (i) {
		inode_entry(s, i, &e);
		inode_put(s, i);
	}
	return fuse_add_direntry_plus(p->req, buf, left, de->name, &e, next);
}

static size_t dot_add(struct parked *p, char *buf, size_t left, int n)
{
	struct inode *parent = n == 1 ? NULL : inode_parent(p->server, p->inode, NULL);
	uint64_t ino = parent ? parent->shown : p->inode->shown;
	struct fuse_entry_param e = {.attr = {.st_ino = ino, .st_mode = S_IFDIR}};
	inode_put(p->server, parent);
	const char *name = n == 1 ? "." : "..";
	return p->plus ? fuse_add_direntry_plus(p->req, buf, left, name, &e, n)
	               : fuse_add_direntry(p->req, buf, left, name, &e.attr, n);
}

static void readdir_listed(struct parked *p, struct listing *l)
{
	g_autofree char *buf = g_try_malloc(p->size);
	size_t used = 0;
	if (!buf) {
		reply_err(p->req, ENOMEM);
		parked_free(p);
		return;
	}
	bool full = false;
	for (int n = p->offset + 1; n <= DOTS && !full; n++) {
		size_t size = dot_add(p, buf + used, p->size - used, n);
		full = size > p->size - used;
		used += full ? 0 : size;
	}
	struct directory *d = inode_open_directory(p->server, p->inode);
	walked_note(p->inode);
	struct directory_entry de = {.position = p->offset > DOTS ? p->offset - DOTS : 0};
	int err = 0;
	while (!full && directory_next(d, l, de.position, &de)) {
		size_t size = entry_add(p, buf + used, p->size - used, l, &de, &err);
		full = err || size > p->size - used;
		used += full ? 0 : size;
	}
	if (err && used == 0)
		replay_fail(p->req, err);
	else
		reply_buf(p->req, buf, used);
	parked_free(p);
}

/* readdir(3) takes ENOENT for the end of the directory, in glibc and in musl: a directory that the
 * source lacks would look empty, without an error. */
static void readdir_failed(struct parked *p, int error)
{
	replay_fail(p->req, error == ENOENT ? EIO : error);
}

static void readdir_start(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *i = inode_get(s->inodes, ino);
	if (!i) {
		reply_err(req, ESTALE);
		return;
	}
	struct parked *p = parked_new(s, req, i, NULL);
	p->resume = readdir_listed;
	p->fail = readdir_failed;
	p->size = size;
	p->offset = offset;
	p->plus = plus;
	struct directory *d = inode_open_directory(s, i);
	bool fresh;
	struct listing *l = directory_listing(d, &fresh);
	/* A walk under way continues with its own listing. */
	if (l && (fresh || offset > 0))
		readdir_listed(p, l);
	else
		parked_list(p, d);
	if (l)
		listing_unref(l);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                struct fuse_file_info *fi)
{
	readdir_start(req, ino, size, offset, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *fi)
{
	readdir_start(req, ino, size, offset, true);
}
