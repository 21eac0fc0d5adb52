/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Owner, mode and device of local objects. Root sets them; who may not keeps them in an xattr,
 * on an object that its daemon can read and write. What can carry no xattr is a file then, that
 * says what it stands for. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fetch/store/tree_private.h"

void owner_read(struct store *s, const char *proc, struct stat *st)
{
	struct owner_disk o;

	if (s->privileged || (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode)) ||
	    lgetxattr(proc, OWNER_XATTR, &o, sizeof o) != sizeof o)
		return;
	st->st_mode = GUINT32_FROM_LE(o.mode);
	st->st_uid = GUINT32_FROM_LE(o.uid);
	st->st_gid = GUINT32_FROM_LE(o.gid);
	o.rdev = GUINT32_FROM_LE(o.rdev);
	st->st_rdev = makedev(o.rdev >> 20, o.rdev & 0xfffff);
}

/* Nothing to keep where the object says it all. */
static int owner_keep(const struct place *p, const struct stat *is, uint32_t mode, uint32_t uid,
                      uint32_t gid, uint32_t rdev)
{
	struct owner_disk o = {
	        .mode = GUINT32_TO_LE(mode),
	        .uid = GUINT32_TO_LE(uid),
	        .gid = GUINT32_TO_LE(gid),
	        .rdev = GUINT32_TO_LE(rdev),
	};

	if (is->st_mode == mode && is->st_uid == uid && is->st_gid == gid) {
		if (lremovexattr(p->proc, OWNER_XATTR) < 0 && errno != ENODATA)
			return -errno;
		return 0;
	}
	return lsetxattr(p->proc, OWNER_XATTR, &o, sizeof o, 0) < 0 ? -errno : 0;
}

int owner_set(struct store *s, const struct place *p, struct stat *st, uint32_t mode, uint32_t uid,
              uint32_t gid, uint32_t rdev)
{
	/* what the object itself can be */
	mode_t own = (st->st_mode & S_IFMT) | (mode & 07777);
	bool chowned = false, link = S_ISLNK(st->st_mode),
	     carries = S_ISREG(st->st_mode) || S_ISDIR(st->st_mode);

	if (!s->privileged && carries)
		own |= S_ISDIR(st->st_mode) ? 0700 : 0600;
	if (st->st_uid != uid || st->st_gid != gid) {
		int err = fchownat(p->dir, p->name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ? errno : 0;

		if (err && err != EPERM && err != EINVAL) /* EINVAL: an id that is nobody's here */
			return -err;
		chowned = err == 0;
	}
	if (chowned) {
		st->st_uid = uid;
		st->st_gid = gid;
		st->st_mode &= ~(S_ISUID | S_ISGID);
	}
	if (link)
		return st->st_uid == uid && st->st_gid == gid ? 0 : -EPERM;
	if (st->st_uid != uid || st->st_gid != gid)
		own &= ~(S_ISUID | S_ISGID); /* those are for the owner it says */
	if (st->st_mode != own && fchmodat(p->dir, p->name, own & 07777, 0) < 0)
		return -errno;
	st->st_mode = own;
	if (s->privileged || !carries)
		return st->st_uid == uid && st->st_gid == gid ? 0 : -EPERM;
	return owner_keep(p, st, mode, uid, gid, rdev);
}
