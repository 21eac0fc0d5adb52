/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include <errno.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/stat.h>
#include "fuse/inode/doubt.h"
#include "fuse/inode/journal.h"
#include "fuse/inode/trim.h"
#include "fuse/ops/ops.h"
#include "fuse/ops/parked.h"
#include "fuse/ops/reply.h"

static void negative_reply(struct server *s, fuse_req_t req, const struct inode *directory)
{
	/* The kernel keeps it until the name appears in a listing */
	struct fuse_entry_param e = {.ino = 0, .entry_timeout = name_timeout(s, directory)};
	reply_entry(req, &e);
}

void entry_reply(struct server *s, fuse_req_t req, struct inode *i)
{
	struct fuse_entry_param e;
	inode_entry(s, i, &e);
	uint64_t id = e.ino;
	inode_put(s, i);
	if (reply_entry(req, &e) == -ENOENT)
		inode_forget(s, id, 1); /* the caller was interrupted: no FORGET will come */
	journal_end(s->area, replay_unique());
}

/* `i`: the directory; takes over a reference */
static void local_reply(struct server *s, fuse_req_t req, struct inode *i, const char *name)
{
	int err;
	struct inode *child = child_local(s, i, name, true, NULL, &err);
	inode_put(s, i);
	if (child)
		entry_reply(s, req, child);
	else
		replay_fail(req, err == ENOENT ? EIO : err);
}

static void lookup_resolved(struct parked *p, struct listing *none);

/* `i`: the directory; takes over a reference. `began_ns`: the look-up, 0: now */
static void lookup_answer(struct server *s, fuse_req_t req, struct inode *i, struct listing *l,
                          const char *name, int64_t began_ns)
{
	uint32_t index;
	struct directory *d = inode_open_directory(s, i);
	enum child kind = directory_child(d, l, name, &index);
	if (kind == CHILD_LOCAL) {
		local_reply(s, req, i, name);
		return;
	}
	if (kind == CHILD_NONE) {
		negative_reply(s, req, i);
		inode_put(s, i);
		return;
	}
	struct listing_entry entry;
	directory_entry(d, l, index, &entry);
	if (S_ISREG(entry.mode) && !(entry.flags & LISTING_SIZE_EXACT)) {
		struct parked *p = parked_new(s, req, i, name);
		p->resume = lookup_resolved;
		if (began_ns)
			p->began_ns = began_ns;
		parked_attributes(p, d, l, index);
		return;
	}
	int err;
	struct inode *child = inode_listed_as(s, i, name, &entry, true, &err);
	inode_put(s, i);
	if (child)
		entry_reply(s, req, child);
	else
		replay_fail(req, err);
}

static void lookup_listed(struct parked *p, struct listing *l)
{
	lookup_answer(p->server, p->req, inode_ref(p->server->inodes, p->inode), l, p->name,
	              p->began_ns);
	parked_free(p);
}

/* The listing may have been replaced while the entry's attributes were on their way. */
static void lookup_resolved(struct parked *p, struct listing *none)
{
	struct listing *l = directory_listing(inode_open_directory(p->server, p->inode), NULL);
	uint32_t index;
	struct listing_entry entry = {0};
	struct directory *d = inode_open_directory(p->server, p->inode);
	bool found = l && directory_child(d, l, p->name, &index) == CHILD_REMOTE;
	if (found)
		directory_entry(inode_open_directory(p->server, p->inode), l, index, &entry);
	if (found && S_ISREG(entry.mode) && !(entry.flags & LISTING_SIZE_EXACT)) {
		reply_err(p->req, EIO); /* twice in a row: it changes too fast */
		parked_free(p);
	} else if (l) {
		lookup_listed(p, l);
	} else {
		reply_err(p->req, EIO);
		parked_free(p);
	}
	if (l)
		listing_unref(l);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *i = inode_get(s->inodes, parent);
	if (!i) {
		reply_err(req, ESTALE);
		return;
	}
	if (strlen(name) > 255) {
		reply_err(req, ENAMETOOLONG);
		inode_put(s, i);
		return;
	}
	struct directory *d = inode_open_directory(s, i);
	bool fresh;
	struct listing *l = directory_listing(d, &fresh);
	if (l && fresh) {
		lookup_answer(s, req, i, l, name, 0);
	} else {
		struct parked *p = parked_new(s, req, i, name);
		p->resume = lookup_listed;
		parked_list(p, d);
	}
	if (l)
		listing_unref(l);
}

static void forget(struct server *s, fuse_ino_t ino, uint64_t nlookup)
{
	uint64_t left = inode_forget(s, ino, nlookup);
	if (left)
		doubts_add(s->doubts, ino, left);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	struct server *s = fuse_req_userdata(req);
	forget(s, ino, nlookup);
	trim_forgot(s->trim, 1);
	reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct server *s = fuse_req_userdata(req);
	for (size_t n = 0; n < count; n++)
		forget(s, forgets[n].ino, forgets[n].nlookup);
	trim_forgot(s->trim, count);
	reply_none(req);
}

static void local_readlink(struct server *s, fuse_req_t req, struct inode *i)
{
	char target[PATH_MAX];
	struct way w;
	way_to(s, i, &w);
	ssize_t n = tree_readlink(s->store, w.path, target, sizeof(target) - 1);
	way_end(s, &w);
	if (n >= 0)
		target[n] = '\0';
	if (n < 0)
		replay_fail(req, -n);
	else
		reply_readlink(req, target);
	inode_put(s, i);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *i = inode_get(s->inodes, ino);
	uint32_t index;
	if (i && i->local) {
		local_readlink(s, req, i);
		return;
	}
	struct listing *l = i ? inode_listed(s, i, &index) : NULL;
	const char *target = l ? listing_target(l, listing_at(l, index)) : NULL;
	if (target)
		reply_readlink(req, target);
	else
		reply_err(req, ESTALE);
	if (l)
		listing_unref(l);
	inode_put(s, i);
}
