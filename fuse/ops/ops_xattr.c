/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include <errno.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include "fuse/base/area.h"
#include "fuse/inode/access.h"
#include "fuse/inode/journal.h"
#include "fuse/ops/ops.h"
#include "fuse/ops/replay.h"
#include "fuse/ops/reply.h"
#include "fuse/ops/setid.h"

/* size 0 asks for the length */
static void xattr_reply(fuse_req_t req, const void *value, size_t have, size_t size, int missing)
{
	if (!value)
		reply_err(req, missing);
	else if (size == 0)
		reply_xattr(req, have);
	else if (have > size)
		reply_err(req, ERANGE);
	else
		reply_buf(req, value, have);
}

/* Only root sees trusted.*; the kernel does not filter it. */
static size_t names_shown(fuse_req_t req, char *names, size_t size)
{
	if (fuse_req_ctx(req)->uid == 0)
		return size;
	size_t shown = 0, length;
	for (size_t at = 0; at < size; at += length) {
		length = strlen(names + at) + 1;
		if (g_str_has_prefix(names + at, "trusted."))
			continue;
		memmove(names + shown, names + at, length);
		shown += length;
	}
	return shown;
}

/* `name` NULL: the list. */
static void local_reply(struct server *s, fuse_req_t req, struct inode *i, const char *name,
                        size_t size)
{
	g_autofree char *value = g_malloc(MAX(size, 1));
	struct way w;
	way_to(s, i, &w);
	ssize_t n = name ? tree_getxattr(s->store, w.path, name, value, size)
	                 : tree_listxattr(s->store, w.path, value, size);
	way_end(s, &w);
	if (n < 0)
		replay_fail(req, -n);
	else if (size == 0)
		reply_xattr(req, n);
	else
		reply_buf(req, value, name ? n : names_shown(req, value, n));
}

static void xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct server *s = fuse_req_userdata(req);
	if (!s->xattrs) {
		reply_err(req, ENOSYS); /* never sent again: `ls -l` asks for each file */
		return;
	}
	struct inode *i = inode_get(s->inodes, ino);
	if (!i) {
		reply_err(req, ESTALE);
		return;
	}
	if (name && strcmp(name, LACUNA_SEALS_XATTR) == 0) {
		uint32_t seals = access_seals(i);
		g_autofree char *text = seal_format(seals);
		xattr_reply(req, seals ? text : NULL, strlen(text), size, ENODATA);
		inode_put(s, i);
		return;
	}
	if (i->local) {
		local_reply(s, req, i, name, MIN(size, XATTR_LIST_MAX));
		inode_put(s, i);
		return;
	}
	uint32_t index;
	size_t have = 0;
	struct listing *l = inode_listed(s, i, &index);
	g_autofree char *names = NULL;
	const void *value = NULL;
	if (l && name) {
		value = listing_xattr(l, listing_at(l, index), name, &have);
	} else if (l) {
		value = listing_xattr_names(l, listing_at(l, index), &have);
		names = g_memdup2(value, have);
		have = names ? names_shown(req, names, have) : 0;
		value = names;
	}
	xattr_reply(req, value || name ? value : "", have, size, ENODATA);
	if (l)
		listing_unref(l);
	inode_put(s, i);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	xattr_get(req, ino, name, size);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	xattr_get(req, ino, NULL, size);
}

/* What cannot be done twice: making an attribute that must not exist, and removing one. A request
 * that a worker has begun before it died, with the attribute as it should be, has been done. */
static bool was_changed(struct server *s, const char *path, const char *name, bool removes,
                        int flags)
{
	if (!s->area->kept || (!removes && !(flags & XATTR_CREATE)))
		return false;
	uint64_t request = replay_unique();
	bool there = tree_getxattr(s->store, path, name, NULL, 0) >= 0;
	if (journal_find(s->area, request))
		return there != removes;
	if (there == removes)
		journal_write(s->area, request, &(struct journal_entry){.kind = JOURNAL_XATTR});
	return false;
}

static void xattr_change(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                         size_t size, int flags)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *i = inode_get(s->inodes, ino);
	int err = !i ? ESTALE : s->read_only ? EROFS : 0;
	if (err == 0 && strcmp(name, LACUNA_SEALS_XATTR) == 0)
		err = EPERM;
	if (err == 0)
		err = inode_keep(s, i);
	if (err == 0 && !replay_is_done()) {
		struct way w;
		way_to(s, i, &w);
		if (!was_changed(s, w.path, name, !value, flags))
			err = value ? -tree_setxattr(s->store, w.path, name, value, size, flags)
			            : -tree_removexattr(s->store, w.path, name);
		way_end(s, &w);
	}
	if (err == 0)
		inode_changed(i);
	if (err == 0 && !value && strcmp(name, "security.capability") == 0)
		setid_capability_went(req, i);
	if (err == 0 && g_str_has_prefix(name, "system.posix_acl_"))
		inode_refresh(s, i); /* this changes the mode, too */
	if (err == 0 && value && strcmp(name, "system.posix_acl_access") == 0) {
		err = setid_acl(req, i);
		if (err)
			replay_set_done();
	}
	replay_fail(req, err);
	inode_put(s, i);
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                 int flags)
{
	xattr_change(req, ino, name, value, size, flags);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	xattr_change(req, ino, name, NULL, 0, 0);
}
