/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Attributes of kept and local objects. */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fetch/base/path.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/disk/stamp.h"
#include "fetch/store/tree/tree_private.h"

static int place_change(struct store *s, const char *path, struct place *p)
{
	int err = epoch_begin(&s->epoch);

	return err ? err : place_open(s, path, p);
}

/* Every write drops a capability, a transfer's too: until a file is local its capability has a name
 * of ours. 1: it has; 0: it is local, or no file; or -errno. */
static int hides_capability(const struct place *p)
{
	struct stat st;
	char data[sizeof(struct record_disk) + 1];
	struct record r;
	ssize_t n;

	if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return 0;
	n = place_getxattr(p, RECORD_XATTR, data, sizeof data);
	if (n < 0)
		return xattr_is_absent(errno) ? 0 : -errno;
	return record_decode(data, (size_t)n, &r) == 0 && !(r.flags & RECORD_LOCAL);
}

/* The name in the store; caller frees *as. */
static int xattr_place(struct store *s, const struct place *p, const char *name, char **as)
{
	int hides = 0;

	if (!s->privileged && xattr_is_rooted(name)) {
		*as = xattr_hidden(name);
		return 0;
	}
	if (strcmp(name, "security.capability") == 0)
		hides = hides_capability(p);
	if (hides >= 0)
		*as = g_strdup(hides ? CAPABILITY_XATTR : name);
	return MIN(hides, 0);
}

int tree_capability_own(struct store *s, const char *path)
{
	char value[XATTR_SIZE_MAX];
	struct place p;
	int err = s->privileged ? place_change(s, path, &p) : 0;
	ssize_t n;

	if (err || !s->privileged)
		return err;
	n = place_getxattr(&p, CAPABILITY_XATTR, value, sizeof value);
	if (n < 0 && errno != ENODATA && errno != EOPNOTSUPP)
		err = -errno;
	if (n >= 0 && lsetxattr(p.proc, "security.capability", value, (size_t)n, 0) < 0)
		err = -errno;
	if (err == 0 && n >= 0 && lremovexattr(p.proc, CAPABILITY_XATTR) < 0)
		err = -errno;
	place_close(&p);
	return err;
}

/* `mode`, `uid` or `gid` of UINT32_MAX: unchanged. */
static int place_own(struct store *s, const struct place *p, uint32_t mode, uint32_t uid,
                     uint32_t gid)
{
	struct stat st, shown;
	int err;

	if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	shown = st;
	err = owner_read(s, p, &shown);
	if (err)
		return err;
	if (mode == UINT32_MAX)
		mode = shown.st_mode & 07777;
	if (uid == UINT32_MAX)
		uid = shown.st_uid;
	if (gid == UINT32_MAX)
		gid = shown.st_gid;
	return owner_set(s, p, &st, (shown.st_mode & S_IFMT) | mode, uid, gid,
	                 (major(shown.st_rdev) << 20) | minor(shown.st_rdev));
}

int tree_own(struct store *s, const char *path, uint32_t mode, uint32_t uid, uint32_t gid)
{
	struct place p;
	int err = place_change(s, path, &p);

	if (err)
		return err;
	err = place_own(s, &p, mode, uid, gid);
	place_close(&p);
	return err;
}

/* The owner's entry, NULL: none. */
static struct posix_acl_xattr_entry *acl_owner(void *value, size_t size)
{
	struct posix_acl_xattr_header *h = value;
	size_t count =
	        size < sizeof *h ? 0 : (size - sizeof *h) / sizeof(struct posix_acl_xattr_entry);
	struct posix_acl_xattr_entry *e = (void *)(h + 1);

	for (size_t n = 0; n < count; n++)
		if (GUINT16_FROM_LE(e[n].e_tag) == ACL_USER_OBJ)
			return &e[n];
	return NULL;
}

/* Shows the reported owner's rights: the local object's ACL has those that the daemon needs. */
static int acl_show(struct store *s, const struct place *p, void *value, size_t size)
{
	struct posix_acl_xattr_entry *e = acl_owner(value, size);
	struct stat st;
	int err;

	if (e == NULL || s->privileged)
		return 0;
	if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	err = owner_read(s, p, &st);
	if (err == 0)
		e->e_perm = GUINT16_TO_LE((st.st_mode >> 6) & 7);
	return err;
}

/* The local object's ACL lets the daemon read and write it and its xattrs. NULL: unchanged. */
static void *acl_given(struct store *s, const void *value, size_t size)
{
	void *copy = s->privileged ? NULL : g_memdup2(value, size);
	struct posix_acl_xattr_entry *e = copy ? acl_owner(copy, size) : NULL;

	if (e)
		e->e_perm |= GUINT16_TO_LE(ACL_READ | ACL_WRITE);
	return copy;
}

/* An ACL that was set changes the mode, too. */
static int acl_keep(struct store *s, const struct place *p, const void *value, size_t size)
{
	g_autofree void *copy = g_memdup2(value, size);
	struct posix_acl_xattr_entry *e = acl_owner(copy, size);
	struct stat st, shown;
	int err;

	if (e == NULL || s->privileged)
		return 0;
	if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	shown = st;
	err = owner_read(s, p, &shown);
	if (err)
		return err;
	return place_own(s, p,
	                 (shown.st_mode & 07000) | (GUINT16_FROM_LE(e->e_perm) & 7u) << 6 |
	                         (st.st_mode & 077),
	                 UINT32_MAX, UINT32_MAX);
}

int tree_utimens(struct store *s, const char *path, const struct timespec times[2])
{
	struct place p;
	int err = place_change(s, path, &p);

	if (err)
		return err;
	stamp_change_begin(s);
	if (utimensat(p.dir, p.name, times, AT_SYMLINK_NOFOLLOW) < 0)
		err = -errno;
	stamp_change_end(s);
	place_close(&p);
	return err;
}

int tree_open(struct store *s, const char *path, int flags)
{
	int dir = path[0] == '/' ? s->state : s->tree;
	int err = (flags & O_ACCMODE) == O_RDONLY ? 0 : epoch_begin(&s->epoch);

	return err ? err
	           : path_open(dir, path + (path[0] == '/'),
	                       flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
}

ssize_t tree_getxattr(struct store *s, const char *path, const char *name, void *value, size_t size)
{
	struct place p;
	g_autofree char *as = NULL;
	ssize_t n = place_open(s, path, &p);

	if (n)
		return n;
	int err = xattr_is_own(name) ? -ENODATA : xattr_place(s, &p, name, &as);
	if (err == 0) {
		n = place_getxattr(&p, as, value, size);
		err = n < 0 ? -errno : 0;
	}
	if (err == 0 && size > 0 && strcmp(name, ACL_XATTR) == 0)
		err = acl_show(s, &p, value, (size_t)n);
	place_close(&p);
	return err ? err : n;
}

/* Takes our own names out of a list. */
static ssize_t names_filter(struct store *s, char *names, ssize_t size)
{
	const ssize_t hidden = sizeof HIDDEN_XATTR - 1;
	ssize_t kept = 0;

	for (ssize_t at = 0; at < size;) {
		ssize_t length = (ssize_t)strlen(names + at) + 1;

		if (strcmp(names + at, CAPABILITY_XATTR) == 0) {
			/* the shorter name, in its place */
			memcpy(names + kept, "security.capability", sizeof "security.capability");
			kept += sizeof "security.capability";
		} else if (g_str_has_prefix(names + at, HIDDEN_XATTR)) {
			memmove(names + kept, names + at + hidden, (size_t)(length - hidden));
			kept += length - hidden;
		} else if (!xattr_is_own(names + at) &&
		           (s->privileged || !xattr_is_rooted(names + at))) {
			memmove(names + kept, names + at, (size_t)length);
			kept += length;
		}
		at += length;
	}
	return kept;
}

ssize_t tree_listxattr(struct store *s, const char *path, char *names, size_t size)
{
	g_autofree char *all = g_malloc(XATTR_LIST_MAX);
	struct place p;
	ssize_t n = place_open(s, path, &p);

	if (n)
		return n;
	n = place_listxattr(&p, all, XATTR_LIST_MAX);
	n = n < 0 ? -errno : names_filter(s, all, n);
	place_close(&p);
	if (n <= 0 || size == 0)
		return n;
	if ((size_t)n > size)
		return -ERANGE;
	memcpy(names, all, (size_t)n);
	return n;
}

int tree_setxattr(struct store *s, const char *path, const char *name, const void *value,
                  size_t size, int flags)
{
	struct place p;
	int err = xattr_is_own(name) ? -EPERM : place_change(s, path, &p);

	if (err)
		return err;
	g_autofree char *as = NULL;
	err = xattr_place(s, &p, name, &as);
	/* an ACL changes the object's mode, which a crash may have left in the xattr alone */
	if (err == 0 && s->privileged && strcmp(name, ACL_XATTR) == 0)
		err = place_own(s, &p, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	g_autofree void *given = strcmp(name, ACL_XATTR) == 0 ? acl_given(s, value, size) : NULL;
	if (err == 0 && lsetxattr(p.proc, as, given ? given : value, size, flags) < 0)
		err = -errno;
	if (err == 0 && strcmp(name, ACL_XATTR) == 0)
		err = acl_keep(s, &p, value, size);
	place_close(&p);
	return err;
}

int tree_removexattr(struct store *s, const char *path, const char *name)
{
	struct place p;
	int err = xattr_is_own(name) ? -ENODATA : place_change(s, path, &p);

	if (err)
		return err;
	g_autofree char *as = NULL;
	err = xattr_place(s, &p, name, &as);
	if (err == 0 && lremovexattr(p.proc, as) < 0)
		err = -errno;
	place_close(&p);
	return err;
}

ssize_t tree_readlink(struct store *s, const char *path, char *target, size_t size)
{
	struct place p;
	ssize_t n = place_open(s, path, &p);

	if (n)
		return n;
	n = readlinkat(p.dir, p.name, target, size);
	n = n < 0 ? -errno : n;
	place_close(&p);
	return n;
}

int tree_seals_set(struct store *s, const char *path, uint32_t seals)
{
	int fd = tree_open(s, path, O_RDONLY), err = fd < 0 ? fd : epoch_begin(&s->epoch);

	seals = GUINT32_TO_LE(seals);
	if (err == 0 && fsetxattr(fd, SEALS_XATTR, &seals, sizeof seals, 0) < 0)
		err = -errno;
	if (err == 0)
		err = epoch_sync(&s->epoch, fd, false);
	if (fd >= 0)
		close(fd);
	return err;
}

void tree_statx(struct store *s, const char *path, struct statx *out)
{
	struct place p;

	if (place_open(s, path, &p) != 0)
		return;
	if (statx(p.dir, p.name, AT_SYMLINK_NOFOLLOW, STATX_BTIME, out) < 0)
		out->stx_mask = 0;
	place_close(&p);
}
