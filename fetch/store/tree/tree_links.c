/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Adds and removes names of a file that had several remote ones: links.c. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "fetch/store/disk/shard.h"
#include "fetch/store/disk/stamp.h"
#include "fetch/store/tree/tree_private.h"

int links_settle(const struct place *p)
{
	uint32_t pending, base;
	struct stat st;
	int has = links_read(p, &pending, &base);

	if (has < 1 || base == 0)
		return has == -ENOENT ? 0 : MIN(has, 0);
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

/* 0: the name is free now; 1: it is the file's. -ESTALE: it has an object that is no leftover. */
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
	int err = links_settle(p), has = err ? err : links_read(p, &pending, &base);

	if (has < 1 || pending == 0)
		return MIN(has, 0);
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
