/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "fuse/ops.h"
#include "fuse/parked.h"

static void negative_reply(fuse_req_t req)
{
	/* Kept by the kernel until the name appears in a listing */
	struct fuse_entry_param e = {.ino = 0, .entry_timeout = TIMEOUT_FOREVER};
	fuse_reply_entry(req, &e);
}

static void lookup_resolved(struct parked *p, struct listing *none);

/* `i`: the directory, a reference is taken over */
static void lookup_answer(struct server *s, fuse_req_t req, struct inode *i, struct listing *l,
                          const char *name)
{
	uint32_t index;
	if (!listing_find(l, name, &index)) {
		negative_reply(req);
		inode_put(s, i);
		return;
	}
	struct directory *d = inode_open_directory(s, i);
	struct listing_entry entry;
	directory_entry(d, l, index, &entry);
	if (S_ISREG(entry.mode) && !(entry.flags & LISTING_SIZE_EXACT)) {
		struct parked *p = parked_new(s, req, i, name);
		p->resume = lookup_resolved;
		parked_attributes(p, d, l, index);
		return;
	}
	struct inode *child = inode_intern(s->inodes, i, name, &entry, true);
	inode_put(s, i);
	if (!child) {
		fuse_reply_err(req, ENFILE);
		return;
	}
	inode_adopt(s, child, &entry);
	struct fuse_entry_param e;
	inode_entry(s, child, &e);
	uint64_t id = e.ino;
	inode_put(s, child);
	if (fuse_reply_entry(req, &e) == -ENOENT)
		inode_forget(s, id, 1); /* the caller was interrupted: no FORGET will come */
}

static void lookup_listed(struct parked *p, struct listing *l)
{
	lookup_answer(p->server, p->req, inode_ref(p->server->inodes, p->inode), l, p->name);
	parked_free(p);
}

/* The listing may have been replaced while the entry's attributes were on their way. */
static void lookup_resolved(struct parked *p, struct listing *none)
{
	struct listing *l = directory_listing(inode_open_directory(p->server, p->inode), NULL);
	uint32_t index;
	struct listing_entry entry = {0};
	bool found = l && listing_find(l, p->name, &index);
	if (found)
		directory_entry(inode_open_directory(p->server, p->inode), l, index, &entry);
	if (found && S_ISREG(entry.mode) && !(entry.flags & LISTING_SIZE_EXACT)) {
		fuse_reply_err(p->req, EIO); /* twice in a row: it changes faster than we ask */
		parked_free(p);
	} else if (l) {
		lookup_listed(p, l);
	} else {
		fuse_reply_err(p->req, EIO);
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
		fuse_reply_err(req, ESTALE);
		return;
	}
	if (strlen(name) > 255) {
		fuse_reply_err(req, ENAMETOOLONG);
		inode_put(s, i);
		return;
	}
	struct directory *d = inode_open_directory(s, i);
	bool fresh;
	struct listing *l = directory_listing(d, &fresh);
	if (l && fresh) {
		lookup_answer(s, req, i, l, name);
	} else {
		struct parked *p = parked_new(s, req, i, name);
		p->resume = lookup_listed;
		parked_list(p, d);
	}
	if (l)
		listing_unref(l);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	inode_forget(fuse_req_userdata(req), ino, nlookup);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t n = 0; n < count; n++)
		inode_forget(fuse_req_userdata(req), forgets[n].ino, forgets[n].nlookup);
	fuse_reply_none(req);
}

struct listing *inode_listed(struct server *s, struct inode *i, uint32_t *index)
{
	if (!i->parent)
		return NULL;
	struct listing *l = directory_listing(inode_open_directory(s, i->parent), NULL);
	if (l && listing_find(l, i->name, index) &&
	    (listing_at(l, *index)->mode & S_IFMT) == i->type)
		return l;
	if (l)
		listing_unref(l);
	return NULL;
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *i = inode_get(s->inodes, ino);
	uint32_t index;
	struct listing *l = i ? inode_listed(s, i, &index) : NULL;
	const char *target = l ? listing_target(l, listing_at(l, index)) : NULL;
	if (target)
		fuse_reply_readlink(req, target);
	else
		fuse_reply_err(req, ESTALE);
	if (l)
		listing_unref(l);
	inode_put(s, i);
}

/* size 0 asks how much there is */
static void xattr_reply(fuse_req_t req, const void *value, size_t have, size_t size, int missing)
{
	if (!value)
		fuse_reply_err(req, missing);
	else if (size == 0)
		fuse_reply_xattr(req, have);
	else if (have > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, value, have);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct server *s = fuse_req_userdata(req);
	if (!s->xattrs) {
		fuse_reply_err(req, ENOSYS); /* never asked again: `ls -l` asks for each file */
		return;
	}
	struct inode *i = inode_get(s->inodes, ino);
	uint32_t index;
	size_t have = 0;
	struct listing *l = i ? inode_listed(s, i, &index) : NULL;
	const void *value = l ? listing_xattr(l, listing_at(l, index), name, &have) : NULL;
	xattr_reply(req, value, have, size, ENODATA);
	if (l)
		listing_unref(l);
	inode_put(s, i);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct server *s = fuse_req_userdata(req);
	if (!s->xattrs) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	struct inode *i = inode_get(s->inodes, ino);
	uint32_t index;
	size_t have = 0;
	struct listing *l = i ? inode_listed(s, i, &index) : NULL;
	const char *names = l ? listing_xattr_names(l, listing_at(l, index), &have) : NULL;
	xattr_reply(req, names ? names : "", have, size, 0);
	if (l)
		listing_unref(l);
	inode_put(s, i);
}
