/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/ops/setid.h"
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include "fuse/base/caller.h"
#include "fuse/inode/notify.h"
#include "fuse/ops/ops.h"

#define SET_ID (S_ISUID | S_ISGID)
#define GROUPS_MAX 65536

static bool in_group(fuse_req_t req, gid_t gid)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	if (ctx->gid == gid)
		return true;
	gid_t some[64];
	int count = fuse_req_getgroups(req, G_N_ELEMENTS(some), some);
	g_autofree gid_t *all = NULL;
	gid_t *groups = some;
	if (count > (int)G_N_ELEMENTS(some) && count <= GROUPS_MAX) {
		groups = all = g_new(gid_t, count);
		count = MIN(count, fuse_req_getgroups(req, count, all));
	}
	for (int n = 0; n < count && count <= GROUPS_MAX; n++)
		if (groups[n] == gid)
			return true;
	return false;
}

static bool setid_keeps(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	g_autofree char *text = ctx->uid == 0 ? caller_text(ctx->pid, "status") : NULL;
	const char *line = text ? strstr(text, "\nCapEff:\t") : NULL;
	return line && (g_ascii_strtoull(line + 9, NULL, 16) & (1u << CAP_FSETID));
}

void setid_capability_went(fuse_req_t req, struct inode *i)
{
	mutex_lock(&i->lock);
	if (i->extra)
		i->extra->capability_went = fuse_req_ctx(req)->pid;
	mutex_unlock(&i->lock);
}

bool setid_stays(fuse_req_t req, struct inode *i)
{
	int32_t pid = 0;
	mutex_lock(&i->lock);
	if (i->extra) {
		pid = i->extra->capability_went;
		i->extra->capability_went = 0;
	}
	mutex_unlock(&i->lock);
	return pid && pid == fuse_req_ctx(req)->pid && setid_keeps(req);
}

bool setid_goes(fuse_req_t req, struct inode *i, uint32_t *left)
{
	mutex_lock(&i->lock);
	uint32_t mode = i->mode, gid = i->gid, goes = S_ISUID;
	mutex_unlock(&i->lock);
	if (S_ISDIR(i->type) || !(mode & SET_ID))
		return false;
	/* without the group's x it is no set-id bit, but a caller outside the group loses it */
	if ((mode & S_IXGRP) || ((mode & S_ISGID) && !in_group(req, gid) && !setid_keeps(req)))
		goes |= S_ISGID;
	if (!(mode & goes))
		return false;
	*left = mode & ~goes;
	return true;
}

static int mode_set(struct server *s, struct inode *i, uint32_t mode)
{
	struct way w;
	way_to(s, i, &w);
	int err = tree_own(s->store, w.path, mode & 07777, UINT32_MAX, UINT32_MAX);
	way_end(s, &w);
	if (err == 0) {
		inode_changed(i);
		err = -inode_refresh(s, i);
	}
	return -err;
}

int setid_acl(fuse_req_t req, struct inode *i)
{
	mutex_lock(&i->lock);
	uint32_t mode = i->mode, gid = i->gid;
	mutex_unlock(&i->lock);
	if (!(mode & S_ISGID) || in_group(req, gid) || setid_keeps(req))
		return 0;
	return mode_set(fuse_req_userdata(req), i, mode & ~S_ISGID);
}

int setid_write(fuse_req_t req, struct inode *i, const struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	uint32_t left;
	if (!fi->kill_suidgid || !setid_goes(req, i, &left))
		return 0;
	int err = inode_keep(s, i);
	if (err)
		return err;
	err = mode_set(s, i, left);
	if (err == 0)
		notifier_inode(s->notifier, inode_id(i), false);
	return err;
}

bool setid_watched(struct inode *i, int fd)
{
	mutex_lock(&i->lock);
	bool set = i->mode & SET_ID;
	mutex_unlock(&i->lock);
	return set || (fd >= 0 && fgetxattr(fd, "security.capability", NULL, 0) >= 0);
}
