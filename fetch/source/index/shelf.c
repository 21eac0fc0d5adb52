/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/index/shelf.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/base/dirents.h"

#define UNFINISHED ".tmp-index"
#define UNFINISHED_HEAD ".tmp-head"

static bool fail(const char *folder, GError **error)
{
	int code = errno;
	g_set_error(error, LOCAL_ERROR, code, "%s: %s", folder, g_strerror(code));
	return false;
}

static int folder_open(const char *folder)
{
	return open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool head_load(int dir, struct head *out)
{
	char text[HEAD_SIZE + 1];
	int fd = openat(dir, "head", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text), 0) : -1;
	if (fd >= 0)
		close(fd);
	return n >= 0 && head_parse(text, (size_t)n, out, NULL);
}

bool shelf_load(const char *folder, struct head *head, struct index **index)
{
	struct head h;
	int dir = folder_open(folder), fd = -1;
	if (dir < 0)
		return false;
	g_autofree char *name = NULL;
	if (head_load(dir, &h)) {
		name = head_index_name(&h);
		fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	}
	close(dir);
	if (fd < 0)
		return false;
	g_autoptr(GError) error = NULL;
	g_autofree char *path = g_build_filename(folder, name, NULL);
	struct index *x = index_open(fd, path, &h.root, &error);
	/* all of it, 0.5 s a GB: one that is damaged at rest would otherwise stay in use, since
	 * its head is right */
	if (x == NULL || !index_verify(x, &error)) {
		index_unref(x);
		g_message("the kept index is unusable, and is fetched again: %s", error->message);
		return false;
	}
	*head = h;
	*index = x;
	return true;
}

int shelf_begin(const char *folder, GError **error)
{
	int dir, fd = -1;
	if (mkdir(folder, 0700) < 0 && errno != EEXIST) {
		fail(folder, error);
		return -1;
	}
	dir = folder_open(folder);
	if (dir >= 0 && (unlinkat(dir, UNFINISHED, 0) == 0 || errno == ENOENT))
		fd = openat(dir, UNFINISHED, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		            0600);
	if (fd < 0)
		fail(folder, error);
	if (dir >= 0)
		close(dir);
	return fd;
}

void shelf_abandon(const char *folder)
{
	g_autofree char *path = g_build_filename(folder, UNFINISHED, NULL);
	unlink(path);
}

static bool head_write(int dir, const struct head *head)
{
	char text[HEAD_SIZE];
	head_format(head, text);
	if (unlinkat(dir, UNFINISHED_HEAD, 0) < 0 && errno != ENOENT)
		return false;
	int fd = openat(dir, UNFINISHED_HEAD, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	                0600);
	if (fd < 0)
		return false;
	bool ok = pwrite(fd, text, sizeof(text), 0) == (ssize_t)sizeof(text) && fsync(fd) == 0;
	close(fd);
	return ok && renameat(dir, UNFINISHED_HEAD, dir, "head") == 0 && fsync(dir) == 0;
}

/* Mapped ones stay readable. What cannot be removed costs space only. */
static void others_remove(int dir, const char *name)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (copy < 0)
		return;
	struct dirents *dirents = dirents_new(copy);
	struct dirent *e;
	while (dirents_next(dirents, &e) > 0)
		if (g_str_has_prefix(e->d_name, "index-") && strcmp(e->d_name, name) != 0)
			unlinkat(dir, e->d_name, 0);
	dirents_free(dirents);
}

bool shelf_commit(const char *folder, int fd, const struct head *head, GError **error)
{
	g_autofree char *name = head_index_name(head);
	int dir = folder_open(folder);
	bool ok = dir >= 0 && fsync(fd) == 0 && renameat(dir, UNFINISHED, dir, name) == 0 &&
	          fsync(dir) == 0 && head_write(dir, head);
	if (!ok)
		fail(folder, error);
	else
		others_remove(dir, name);
	if (dir >= 0)
		close(dir);
	return ok;
}

bool shelf_renew(const char *folder, const struct head *head, GError **error)
{
	int dir = folder_open(folder);
	bool ok = dir >= 0 && head_write(dir, head);
	if (!ok)
		fail(folder, error);
	if (dir >= 0)
		close(dir);
	return ok;
}
