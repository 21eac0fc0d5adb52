/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Attributes of what counts. */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fetch/path.h"
#include "fetch/store/shard.h"
#include "fetch/store/stamp.h"
#include "fetch/store/tree_private.h"

/* Ours: neither shown nor touched. */
static bool xattr_is_own(const char *name)
{
	return g_str_has_prefix(name, RECORD_XATTR) &&
	       (name[sizeof RECORD_XATTR - 1] == '\0' || name[sizeof RECORD_XATTR - 1] == '.');
}

static int place_change(struct store *s, const char *path, struct place *p)
{
	int err = epoch_begin(&s->epoch);

	return err ? err : place_open(s, path, p);
}

/* Every write takes this xattr away, that of the filler too: until a file is all local it is kept
 * under a name of ours. */
static const char *xattr_place(const struct place *p, const char *name)
{
	struct stat st;
	char data[sizeof(struct record_disk) + 1];
	struct record r;
	ssize_t n;

	if (strcmp(name, "security.capability") != 0 ||
	    fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return name;
	n = lgetxattr(p->proc, RECORD_XATTR, data, sizeof data);
	if (n < 0 || record_decode(data, (size_t)n, &r) != 0 || (r.flags & RECORD_LOCAL))
		return name;
	return CAPABILITY_XATTR;
}

int tree_capability_own(struct store *s, const char *path)
{
	char value[XATTR_SIZE_MAX];
	struct place p;
	int err = place_change(s, path, &p);
	ssize_t n;

	if (err)
		return err;
	n = lgetxattr(p.proc, CAPABILITY_XATTR, value, sizeof value);
	if (n >= 0 && lsetxattr(p.proc, "security.capability", value, (size_t)n, 0) < 0)
		err = -errno;
	if (n >= 0)
		lremovexattr(p.proc, CAPABILITY_XATTR);
	place_close(&p);
	return err;
}

/* Together they may be more than a file system keeps of one file, which then says that it is full:
 * ext4 has one block. */
#define XATTRS_SURE 2048

static const char *xattr_kept_as(const char *name, bool regular)
{
	return regular && strcmp(name, "security.capability") == 0 ? CAPABILITY_XATTR : name;
}

int xattrs_give(int fd, const struct store_kept *k)
{
	const struct listing_entry *e = k->listing ? listing_at(k->listing, k->index) : NULL;
	size_t length = 0, size, sum = 0;
	const char *names = e ? listing_xattr_names(k->listing, e, &length) : NULL;
	bool regular = e && S_ISREG(e->mode);

	for (size_t at = 0; names && at < length; at += strlen(names + at) + 1) {
		const char *name = names + at;
		const void *value = listing_xattr(k->listing, e, name, &size);

		if (value == NULL || xattr_is_own(name))
			continue;
		sum += size + strlen(name);
		if (fsetxattr(fd, xattr_kept_as(name, regular), value, size, 0) == 0)
			continue;
		if (errno == EROFS || errno == EDQUOT || errno == EIO ||
		    (errno == ENOSPC && sum <= XATTRS_SURE))
			return -errno;
		g_message("%s loses its xattr %s: %s", k->remote, name, g_strerror(errno));
	}
	return 0;
}

/* `mode` of UINT32_MAX, `uid`, `gid` of UINT32_MAX: as it is. */
static int set_owner(struct store *s, const char *path, uint32_t mode, uint32_t uid, uint32_t gid)
{
	struct stat st, shown;
	struct place p;
	int err = place_change(s, path, &p);

	if (err)
		return err;
	if (fstatat(p.dir, p.name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		err = -errno;
	} else {
		shown = st;
		owner_read(s, p.proc, &shown);
		if (mode == UINT32_MAX)
			mode = shown.st_mode & 07777;
		if (uid == UINT32_MAX)
			uid = shown.st_uid;
		if (gid == UINT32_MAX)
			gid = shown.st_gid;
		err = owner_set(s, &p, &st, (shown.st_mode & S_IFMT) | mode, uid, gid,
		                (major(shown.st_rdev) << 20) | minor(shown.st_rdev));
	}
	place_close(&p);
	return err;
}

int tree_chmod(struct store *s, const char *path, uint32_t mode)
{
	return set_owner(s, path, mode & 07777, UINT32_MAX, UINT32_MAX);
}

int tree_chown(struct store *s, const char *path, uint32_t uid, uint32_t gid)
{
	return set_owner(s, path, UINT32_MAX, uid, gid);
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
	ssize_t n = place_open(s, path, &p);

	if (n)
		return n;
	n = xattr_is_own(name) ? -1 : lgetxattr(p.proc, xattr_place(&p, name), value, size);
	if (n < 0)
		n = xattr_is_own(name) ? -ENODATA : -errno;
	place_close(&p);
	return n;
}

/* Takes our own names out of a list. */
static ssize_t names_filter(char *names, ssize_t size)
{
	ssize_t kept = 0;

	for (ssize_t at = 0; at < size;) {
		ssize_t length = (ssize_t)strlen(names + at) + 1;

		if (strcmp(names + at, CAPABILITY_XATTR) == 0) {
			/* the shorter name, in its place */
			memcpy(names + kept, "security.capability", sizeof "security.capability");
			kept += sizeof "security.capability";
		} else if (!xattr_is_own(names + at)) {
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
	n = llistxattr(p.proc, all, XATTR_LIST_MAX);
	n = n < 0 ? -errno : names_filter(all, n);
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
	if (lsetxattr(p.proc, xattr_place(&p, name), value, size, flags) < 0)
		err = -errno;
	place_close(&p);
	return err;
}

int tree_removexattr(struct store *s, const char *path, const char *name)
{
	struct place p;
	int err = xattr_is_own(name) ? -ENODATA : place_change(s, path, &p);

	if (err)
		return err;
	if (lremovexattr(p.proc, xattr_place(&p, name)) < 0)
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
	if (err == 0 && (fsetxattr(fd, SEALS_XATTR, &seals, sizeof seals, 0) < 0 || fsync(fd) < 0))
		err = -errno;
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
