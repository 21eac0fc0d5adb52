/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Names in the tree. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "fetch/base/path.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/disk/stamp.h"
#include "fetch/store/object/object_private.h"

/* STORE itself is 0700. */
#define TREE_MODE 0755

static void temporary_path(uint64_t temporary, char path[32])
{
	snprintf(path, 32, "%016" PRIx64, temporary);
}

static int link_descriptor(struct store *s, int fd, int dir, const char *name)
{
	char proc[40];

	if (!__atomic_load_n(&s->link_by_proc, __ATOMIC_RELAXED)) {
		if (linkat(fd, "", dir, name, AT_EMPTY_PATH) == 0)
			return 0;
		/* ENOENT: no CAP_DAC_READ_SEARCH, or the directory is gone */
		if (errno != ENOENT && errno != EPERM && errno != EINVAL)
			return -errno;
	}
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, proc, dir, name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	__atomic_store_n(&s->link_by_proc, 1, __ATOMIC_RELAXED);
	return 0;
}

static int link_file(struct store *s, int fd, uint64_t temporary, int dir, const char *name)
{
	char from[32];

	if (temporary == 0)
		return link_descriptor(s, fd, dir, name);
	temporary_path(temporary, from);
	return linkat(s->tmp, from, dir, name, 0) < 0 ? -errno : 0;
}

/* The index may have an older file, which has no name in the tree any more. */
static int name_index(struct store *s, int fd, uint64_t temporary, uint64_t ino)
{
	char path[SHARD_PATH_MAX];
	int err;

	shard_path("links", ino, path);
	err = link_file(s, fd, temporary, s->state, path);
	if (err == -ENOENT) {
		err = shard_make(s->state, "links", ino);
		if (err == 0)
			err = link_file(s, fd, temporary, s->state, path);
	}
	if (err == -EEXIST) {
		err = name_set_aside(s, s->state, path);
		if (err == 0)
			err = link_file(s, fd, temporary, s->state, path);
	}
	if (err == 0)
		__atomic_store_n(&s->links, 1, __ATOMIC_RELEASE);
	return err;
}

/* Sets aside the first file of ours on the way to `path`, where a directory is now. false: there is
 * none. */
static bool clear_way(struct store *s, const char *path)
{
	for (const char *p = path; (p = strchr(p, '/')) != NULL; p++) {
		g_autofree char *prefix = g_strndup(path, p - path);
		struct found f;
		int err = find_file(s, prefix, 0, &f);

		if ((err == 0 || err == -ESTALE) && !f.by_link)
			err = name_set_aside(s, f.dir, f.path);
		else
			err = -ENOENT;
		found_clear(&f);
		if (err == 0)
			return true;
	}
	return false;
}

int name_place(struct store *s, const char *path, const char **name)
{
	bool in_state = path[0] == '/';
	int top = in_state ? s->state : s->tree;
	path += in_state;
	int fd = path_open_parent(top, path, name);
	struct stamp stamp;

	if (fd != -ENOENT)
		return fd;
	stamp_begin(s, top, &stamp);
	fd = path_make_parent(top, path, in_state ? 0700 : TREE_MODE, name);
	stamp_end(s, &stamp);
	return fd;
}

static int open_place(struct store *s, const char *path, const char **name)
{
	int fd = name_place(s, path, name);

	if (fd == -ENOTDIR && clear_way(s, path))
		fd = name_place(s, path, name);
	return fd;
}

/* A foreign object has the name, and is left alone. */
static int name_refused(const char *path, int err)
{
	if (err != -EEXIST && err != -ENOTDIR && err != -ELOOP)
		return err;
	g_message("/%s cannot be cached: another object in the store has its name", path);
	return 0;
}

int name_give(struct store *s, int fd, uint64_t temporary, const char *path, uint64_t ino)
{
	const char *name;
	struct stamp stamp;
	int err = ino ? name_index(s, fd, temporary, ino) : 0, parent;

	if (err)
		return err;
	parent = open_place(s, path, &name);
	if (parent < 0)
		return name_refused(path, parent);
	stamp_begin(s, parent, &stamp);
	err = link_file(s, fd, temporary, parent, name);
	/* an empty directory, which became a file at the source */
	if (err == -EEXIST && unlinkat(parent, name, AT_REMOVEDIR) == 0)
		err = link_file(s, fd, temporary, parent, name);
	stamp_end(s, &stamp);
	close(parent);
	return err ? name_refused(path, err) : 0;
}

int name_add(struct store *s, uint64_t ino, const char *path)
{
	char from[SHARD_PATH_MAX];
	const char *name;
	struct stamp stamp;
	int parent = open_place(s, path, &name), err = 0;

	if (parent < 0)
		return parent;
	shard_path("links", ino, from);
	stamp_begin(s, parent, &stamp);
	if (linkat(s->state, from, parent, name, 0) < 0)
		err = -errno;
	stamp_end(s, &stamp);
	close(parent);
	return err;
}

int name_remove(struct store *s, int dir, const char *path, ino_t ino)
{
	const char *name;
	int parent = path_open_parent(dir, path, &name), err = 0;
	struct stamp stamp;
	struct stat st;

	if (parent < 0)
		return parent == -ENOENT || parent == -ENOTDIR ? 0 : parent;
	stamp_begin(s, parent, &stamp);
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		err = errno == ENOENT ? 0 : -errno;
	else if (st.st_ino == ino && unlinkat(parent, name, 0) < 0 && errno != ENOENT)
		err = -errno;
	stamp_end(s, &stamp);
	close(parent);
	return err;
}

int name_set_aside(struct store *s, int dir, const char *path)
{
	const char *name;
	struct stamp stamp;
	char to[40];
	int parent, err = epoch_begin(&s->epoch);

	if (err)
		return err;
	parent = path_open_parent(dir, path, &name);
	if (parent < 0)
		return parent;
	snprintf(to, sizeof to, "orphans/%016" PRIx64, store_number(s));
	stamp_begin(s, parent, &stamp);
	if (mkdirat(s->state, "orphans", 0700) < 0 && errno != EEXIST)
		err = -errno;
	else if (renameat2(parent, name, s->state, to, RENAME_NOREPLACE) < 0)
		err = -errno;
	stamp_end(s, &stamp);
	close(parent);
	if (err == 0)
		g_message("the store's %s was set aside as state/%s", path, to);
	return err;
}
