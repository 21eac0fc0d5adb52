/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Owner, mode and device of local objects. Root sets them on the object, except the set-id bits of
 * files: these are in the xattr, so that no other process with access to the store can use them,
 * and apply to the owner that the xattr names. An unprivileged daemon keeps all of them in the
 * xattr, on an object that it can read and write. A device is then a file that stands in for it;
 * for other objects, which can carry no xattr, they are noted beside the tree. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fetch/store/disk/shard.h"
#include "fetch/store/object/object_private.h"

/* Can the daemon give local objects the attributes they are reported with? Root of a user
 * namespace, or with fewer capabilities, cannot. */
bool owner_privileged(void)
{
	static const int needed[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,
	                             CAP_FSETID, CAP_MKNOD,        CAP_SETFCAP};
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
	g_autofree char *map = NULL;
	unsigned inside, outside, count;

	if (geteuid() != 0 || syscall(SYS_capget, &header, data) < 0)
		return false;
	/* where there are no user namespaces there is no map */
	if (g_file_get_contents("/proc/self/uid_map", &map, NULL, NULL) &&
	    (sscanf(map, "%u %u %u", &inside, &outside, &count) != 3 || count != UINT32_MAX))
		return false;
	for (size_t n = 0; n < G_N_ELEMENTS(needed); n++)
		if (!(data[needed[n] / 32].effective & (1u << needed[n] % 32)))
			return false;
	return true;
}

#define SET_ID (S_ISUID | S_ISGID)

/* OWNERS/xx/<origin_key()>: a symlink, as origin.c */
#define OWNERS "owners"

static int note_read(struct store *s, const struct place *p, struct stat *st)
{
	uint64_t key;
	char path[SHARD_PATH_MAX], text[64];
	unsigned mode, uid, gid;
	int err = origin_key(p->dir, p->name, &key);
	ssize_t n;

	if (err)
		return err;
	shard_path(OWNERS, key, path);
	n = readlinkat(s->state, path, text, sizeof text - 1);
	if (n < 0)
		return errno == ENOENT || errno == EINVAL ? 0 : -errno;
	text[n] = '\0';
	if (sscanf(text, "%o:%u:%u", &mode, &uid, &gid) != 3 || ((mode ^ st->st_mode) & S_IFMT))
		return 0;
	st->st_mode = mode;
	st->st_uid = uid;
	st->st_gid = gid;
	return 0;
}

/* Replaces an earlier note. */
static int note_write(struct store *s, uint64_t key, uint32_t mode, uint32_t uid, uint32_t gid)
{
	char path[SHARD_PATH_MAX], text[64], name[24];
	int err;

	snprintf(text, sizeof text, "%o:%u:%u", mode, uid, gid);
	snprintf(name, sizeof name, "%016" PRIx64, store_number(s));
	shard_path(OWNERS, key, path);
	if (symlinkat(text, s->tmp, name) < 0)
		return -errno;
	err = renameat(s->tmp, name, s->state, path) < 0 ? -errno : 0;
	if (err == -ENOENT && (err = shard_make(s->state, OWNERS, key)) == 0 &&
	    renameat(s->tmp, name, s->state, path) < 0)
		err = -errno;
	if (err)
		unlinkat(s->tmp, name, 0);
	return err;
}

void owner_forget(struct store *s, uint64_t key)
{
	if (!s->privileged)
		shard_unlink(s->state, OWNERS, key);
}

/* 1: `out` has what was noted; 0: nothing was; or -errno. */
static int xattr_read(const struct place *p, struct stat *out)
{
	struct owner_disk o;
	int has = place_xattr(p, OWNER_XATTR, &o, sizeof o);

	if (has < 1)
		return has;
	out->st_mode = GUINT32_FROM_LE(o.mode);
	out->st_uid = GUINT32_FROM_LE(o.uid);
	out->st_gid = GUINT32_FROM_LE(o.gid);
	o.rdev = S_ISREG(out->st_mode) ? 0 : GUINT32_FROM_LE(o.rdev);
	out->st_rdev = makedev(o.rdev >> 20, o.rdev & 0xfffff);
	return 1;
}

/* As root, for the file `is`: reads the xattr, and whether it has the whole mode. 1: it applies
 * to the owner; 0: it does not, or there is none; or -errno. */
static int bits_read(const struct place *p, const struct stat *is, struct owner_disk *out,
                     bool *whole)
{
	struct owner_disk o;
	int has = place_xattr(p, OWNER_XATTR, &o, sizeof o);

	if (has < 1)
		return has;
	*out = (struct owner_disk){
	        .mode = GUINT32_FROM_LE(o.mode),
	        .uid = GUINT32_FROM_LE(o.uid),
	        .gid = GUINT32_FROM_LE(o.gid),
	};
	*whole = S_ISREG(out->mode) && GUINT32_FROM_LE(o.rdev) == OWNER_WHOLE;
	return out->uid == is->st_uid && out->gid == is->st_gid;
}

static int bits_show(const struct place *p, struct stat *st)
{
	struct owner_disk o;
	bool whole;
	int applies = bits_read(p, st, &o, &whole);

	if (applies < 1)
		return applies;
	if (whole)
		st->st_mode &= ~07777u;
	st->st_mode |= o.mode & (whole ? 07777u : SET_ID);
	return 0;
}

int owner_read(struct store *s, const struct place *p, struct stat *st)
{
	struct stat o;
	int has;

	if (s->privileged)
		return S_ISREG(st->st_mode) ? bits_show(p, st) : 0;
	if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode))
		return note_read(s, p, st);
	has = xattr_read(p, &o);
	if (has < 1)
		return has;
	st->st_mode = o.st_mode;
	st->st_uid = o.st_uid;
	st->st_gid = o.st_gid;
	st->st_rdev = o.st_rdev;
	return 0;
}

int owner_stands_in(const struct place *p)
{
	struct owner_disk o;
	int has = place_xattr(p, OWNER_XATTR, &o, sizeof o);

	return has < 1 ? has : !S_ISREG(GUINT32_FROM_LE(o.mode));
}

int owner_give(struct store *s, int fd, const struct store_origin *o)
{
	struct owner_disk d;
	struct stat st;

	if (o == NULL || (s->privileged && !(o->mode & SET_ID)))
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (s->privileged && (st.st_uid != o->uid || st.st_gid != o->gid))
		return 0;
	/* an ACL that was set before may have left less */
	if (!s->privileged && (st.st_mode & 0600) != 0600 &&
	    fchmod(fd, (st.st_mode & 07777) | 0600) < 0)
		return -errno;
	st.st_mode |= s->privileged ? 0 : 0600;
	if (st.st_mode == o->mode && st.st_uid == o->uid && st.st_gid == o->gid)
		return 0;
	d = (struct owner_disk){
	        .mode = GUINT32_TO_LE(o->mode),
	        .uid = GUINT32_TO_LE(o->uid),
	        .gid = GUINT32_TO_LE(o->gid),
	};
	return fsetxattr(fd, OWNER_XATTR, &d, sizeof d, 0) < 0 ? -errno : 0;
}

static int owner_drop(const struct place *p)
{
	return lremovexattr(p->proc, OWNER_XATTR) < 0 && errno != ENODATA ? -errno : 0;
}

static int owner_note(const struct place *p, uint32_t mode, uint32_t uid, uint32_t gid,
                      uint32_t rdev)
{
	struct owner_disk o = {
	        .mode = GUINT32_TO_LE(mode),
	        .uid = GUINT32_TO_LE(uid),
	        .gid = GUINT32_TO_LE(gid),
	        .rdev = GUINT32_TO_LE(rdev),
	};

	return lsetxattr(p->proc, OWNER_XATTR, &o, sizeof o, 0) < 0 ? -errno : 0;
}

/* Drops the xattr if the object itself has all attributes. */
static int owner_keep(const struct place *p, const struct stat *is, uint32_t mode, uint32_t uid,
                      uint32_t gid, uint32_t rdev)
{
	if (is->st_mode == mode && is->st_uid == uid && is->st_gid == gid)
		return owner_drop(p);
	return owner_note(p, mode, uid, gid, rdev);
}

int owner_mend(struct store *s, const struct place *p, const struct stat *st)
{
	struct stat noted;
	uint32_t rdev = (major(st->st_rdev) << 20) | minor(st->st_rdev);
	struct stat plain = *st;
	int err = 0, has;

	if (!(st->st_mode & SET_ID))
		return 0;
	plain.st_mode &= ~SET_ID;
	has = s->privileged ? 0 : xattr_read(p, &noted);
	if (has < 0)
		return has;
	if (has == 0)
		err = owner_keep(p, &plain, st->st_mode, st->st_uid, st->st_gid, rdev);
	if (err == 0 && fchmodat(p->dir, p->name, plain.st_mode & 07777, 0) < 0)
		err = -errno;
	return err;
}

static int object_chmod(const struct place *p, struct stat *st, mode_t mode)
{
	if (st->st_mode == mode)
		return 0;
	if (fchmodat(p->dir, p->name, mode & 07777, 0) < 0)
		return -errno;
	st->st_mode = mode;
	return 0;
}

/* A lack of privilege is no error: `st` has the result. */
static int object_chown(const struct place *p, struct stat *st, uint32_t uid, uint32_t gid)
{
	if (st->st_uid == uid && st->st_gid == gid)
		return 0;
	if (fchownat(p->dir, p->name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		/* EINVAL: the user namespace does not map the id */
		return errno == EPERM || errno == EINVAL ? 0 : -errno;
	/* which set-id bits chown cleared depends on the rest of the mode */
	return fstatat(p->dir, p->name, st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* As root, for a file. The xattr has the whole mode while the object's changes: no step shows a
 * mode that was never set. */
static int bits_set(const struct place *p, struct stat *st, uint32_t mode, uint32_t uid,
                    uint32_t gid)
{
	mode_t own = mode & ~SET_ID;
	struct owner_disk o = {0};
	bool whole = false;
	int counts = bits_read(p, st, &o, &whole), err = MIN(counts, 0);

	if (err)
		return err;
	if (st->st_uid != uid || st->st_gid != gid) {
		/* the xattr ends with the owner that it names, and must not apply again later */
		if (counts && whole)
			err = object_chmod(p, st, o.mode & ~SET_ID);
		else if (!counts && o.mode)
			err = owner_drop(p);
		if (err == 0)
			err = object_chown(p, st, uid, gid);
		if (err == 0 && (st->st_uid != uid || st->st_gid != gid))
			err = -EPERM;
		counts = 0;
	}
	if (err)
		return err;
	if (st->st_mode != own && (counts || own != mode)) {
		err = owner_note(p, mode, uid, gid, OWNER_WHOLE);
		if (err)
			return err;
	}
	err = object_chmod(p, st, own);
	if (err == 0)
		err = own == mode ? owner_drop(p) : owner_note(p, mode, uid, gid, 0);
	return err;
}

/* For objects that carry an xattr. It has all attributes, so it is set first and removed last. */
static int carrier_set(const struct place *p, struct stat *st, uint32_t mode, uint32_t uid,
                       uint32_t gid, uint32_t rdev)
{
	/* the object's own mode; other processes with access to the store could use set-id bits of
	 * a file, and those of a directory are for the owner in the xattr */
	mode_t own = (st->st_mode & S_IFMT) | (mode & 07777) | (S_ISDIR(st->st_mode) ? 0700 : 0600);
	struct owner_disk before;
	int noted = place_xattr(p, OWNER_XATTR, &before, sizeof before), err;

	if (noted < 0)
		return noted;
	if (S_ISREG(st->st_mode))
		own &= ~SET_ID;
	noted = noted || own != mode || (own & SET_ID) || st->st_uid != uid || st->st_gid != gid;
	/* a umask or an ACL may have left the daemon no access, and the xattr takes write
	 * permission */
	err = noted ? object_chmod(p, st, st->st_mode | S_IRUSR | S_IWUSR) : 0;
	if (err == 0 && noted)
		err = owner_note(p, mode, uid, gid, rdev);
	if (err == 0)
		err = object_chown(p, st, uid, gid);
	if (err == 0 && (st->st_uid != uid || st->st_gid != gid))
		own &= ~SET_ID;
	if (err == 0)
		err = object_chmod(p, st, own);
	/* the kernel drops the set-gid bit if the daemon is not in the group */
	if (err == 0 && fstatat(p->dir, p->name, st, AT_SYMLINK_NOFOLLOW) < 0)
		err = -errno;
	if (err || (noted && (st->st_mode != mode || st->st_uid != uid || st->st_gid != gid)))
		return err;
	return owner_keep(p, st, mode, uid, gid, rdev);
}

int owner_set(struct store *s, const struct place *p, struct stat *st, uint32_t mode, uint32_t uid,
              uint32_t gid, uint32_t rdev)
{
	mode_t own = (st->st_mode & S_IFMT) | (mode & 07777);
	bool link = S_ISLNK(st->st_mode);
	uint64_t key;
	int err;

	if (s->privileged && S_ISREG(st->st_mode))
		return bits_set(p, st, own, uid, gid);
	if (!s->privileged && (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)))
		return carrier_set(p, st, mode, uid, gid, rdev);
	err = object_chown(p, st, uid, gid);
	if (err)
		return err;
	if (st->st_uid != uid || st->st_gid != gid)
		own &= ~SET_ID; /* for the noted owner only */
	if (!link)
		err = object_chmod(p, st, own);
	if (err)
		return err;
	if (s->privileged)
		return st->st_uid != uid || st->st_gid != gid ? -EPERM : 0;
	err = origin_key(p->dir, p->name, &key);
	if (err)
		return err;
	if (st->st_uid != uid || st->st_gid != gid)
		return note_write(s, key, link ? st->st_mode : mode, uid, gid);
	owner_forget(s, key);
	return 0;
}
