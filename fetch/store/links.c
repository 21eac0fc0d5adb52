/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A kept file that had several remote names: state/links/<ino> is one of it, and the remote names
 * that nobody has touched are none in the tree yet (pending).
 *
 *      nlink = names of the inode - the index + pending + (names of the inode < base)
 *
 * `base`: a pending name is about to come into the tree; so many names the inode has then. A step
 * that takes a name away settles it first. So the count is right between any two steps. */
#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fetch/store/shard.h"
#include "fetch/store/stamp.h"
#include "fetch/store/tree_private.h"

static struct links_disk links_disk(uint32_t pending, uint32_t base)
{
	return (struct links_disk){.pending = GUINT32_TO_LE(pending), .base = GUINT32_TO_LE(base)};
}

static bool links_read(const struct place *p, uint32_t *pending, uint32_t *base)
{
	struct links_disk d;

	if (place_getxattr(p, LINKS_XATTR, &d, sizeof d) != sizeof d)
		return false;
	*pending = GUINT32_FROM_LE(d.pending);
	*base = GUINT32_FROM_LE(d.base);
	return true;
}

static int links_write(const char *proc, uint32_t pending, uint32_t base)
{
	struct links_disk d = links_disk(pending, base);

	return lsetxattr(proc, LINKS_XATTR, &d, sizeof d, 0) < 0 ? -errno : 0;
}

int links_begin(int fd, uint32_t nlink)
{
	struct links_disk d;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	d = links_disk(nlink + 1 > st.st_nlink ? nlink + 1 - st.st_nlink : 0, 0);
	return fsetxattr(fd, LINKS_XATTR, &d, sizeof d, 0) < 0 ? -errno : 0;
}

bool links_count(const struct place *p, struct stat *st)
{
	uint32_t pending, base;

	if (!links_read(p, &pending, &base))
		return false;
	st->st_nlink = st->st_nlink - 1 + pending + (st->st_nlink < base);
	return true;
}

int links_settle(const struct place *p)
{
	uint32_t pending, base;
	struct stat st;

	if (!links_read(p, &pending, &base) || base == 0)
		return 0;
	if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return links_write(p->proc, pending + (st.st_nlink < base), 0);
}

static int clear(struct store *s, const struct place *p, const char *path)
{
	struct stamp stamp;
	int err;

	stamp_begin(s, p->dir, &stamp);
	err = place_clear(s, p, path);
	stamp_end(s, &stamp);
	return err;
}

/* 0: nothing is there any more; 1: the file is. -ESTALE: something else counts there. */
static int name_look(struct store *s, const char *path, const struct stat *file)
{
	struct stat st;
	struct place p;
	int err = place_open(s, path, &p);

	if (err)
		return err == -ENOENT || err == -ENOTDIR ? 0 : err;
	if (fstatat(p.dir, p.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		err = errno == ENOENT ? 0 : -errno;
	else if (st.st_ino == file->st_ino && st.st_dev == file->st_dev)
		err = 1;
	else
		err = clear(s, &p, path);
	place_close(&p);
	return err == -EEXIST ? -ESTALE : err;
}

static int links_intend(const struct place *p, const struct stat *st)
{
	uint32_t pending, base;
	int err = links_settle(p);

	if (err || !links_read(p, &pending, &base) || pending == 0)
		return err;
	return links_write(p->proc, pending - 1, (uint32_t)st->st_nlink + 1);
}

int tree_materialise(struct store *s, const char *path, uint64_t ino)
{
	char index[SHARD_PATH_MAX + 1] = "/";
	struct place p;
	struct stat st;
	int err = epoch_begin(&s->epoch);

	shard_path("links", ino, index + 1);
	if (err == 0)
		err = place_open(s, index, &p);
	if (err)
		return err;
	if (fstatat(p.dir, p.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		err = -errno;
	if (err == 0)
		err = name_look(s, path, &st);
	if (err == 0) {
		err = links_intend(&p, &st);
		if (err == 0)
			err = name_add(s, ino, path);
	}
	place_close(&p);
	return MIN(err, 0);
}

int tree_index_drop(struct store *s, uint64_t ino)
{
	char index[SHARD_PATH_MAX + 1] = "/";

	shard_path("links", ino, index + 1);
	return tree_unlink(s, index, 0);
}
