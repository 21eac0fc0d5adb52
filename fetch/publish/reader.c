/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/reader.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "fetch/base/path.h"
#include "fetch/publish/node.h"

static bool changed(const char *path, GError **error)
{
	g_set_error(error, FETCH_ERROR, FETCH_CHANGED,
	            "%s: changed while the tree was being published; publish it again when nothing "
	            "writes to it",
	            path);
	return false;
}

char *reader_path(const struct spill_directory *d, const struct spill_entry *e)
{
	const char *directory = spill_path(d), *name = spill_entry_name(e);
	return directory[0] != '\0' ? g_strconcat(directory, "/", name, NULL) : g_strdup(name);
}

void reader_open(struct reader *r, int root)
{
	*r = (struct reader){.root = root, .dir_fd = -1, .file = -1};
}

static void file_close(struct reader *r)
{
	if (r->file >= 0)
		close(r->file);
	r->file = -1;
	r->entry = NULL;
}

void reader_close(struct reader *r)
{
	file_close(r);
	if (r->dir_fd >= 0)
		close(r->dir_fd);
	r->dir_fd = -1;
}

static bool file_check(const struct reader *r, const char *path, GError **error)
{
	struct statx st;
	if (statx(r->file, "", AT_EMPTY_PATH, NODE_STATX, &st) < 0)
		return node_fail(error, path, errno);
	return node_same(r->entry, &st) || changed(path, error);
}

static bool file_open(struct reader *r, const struct spill_directory *d,
                      const struct spill_entry *e, const char *path, GError **error)
{
	if (r->entry == e)
		return true;
	file_close(r);
	if (r->directory != d) {
		if (r->dir_fd >= 0)
			close(r->dir_fd);
		r->dir_fd = path_open(r->root, spill_path(d), O_PATH | O_DIRECTORY, 0);
		r->directory = r->dir_fd >= 0 ? d : NULL;
		if (r->dir_fd < 0)
			return node_fail(error, spill_path(d), -r->dir_fd);
	}
	r->file = openat(r->dir_fd, spill_entry_name(e),
	                 O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (r->file < 0)
		return errno == ENOENT || errno == ELOOP ? changed(path, error)
		                                         : node_fail(error, path, errno);
	r->entry = e;
	return true;
}

static bool file_read(struct reader *r, uint64_t offset, uint64_t length, uint8_t *out,
                      const char *path, GError **error)
{
	uint64_t got = 0;
	while (got < length) {
		ssize_t n = pread(r->file, out + got, length - got, (off_t)(offset + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return node_fail(error, path, errno);
		if (n == 0)
			return changed(path, error);
		got += (uint64_t)n;
	}
	return true;
}

bool reader_get(struct reader *r, const struct spill_directory *d, const struct spill_entry *e,
                uint64_t offset, uint64_t length, void *out, GError **error)
{
	g_autofree char *path = reader_path(d, e);
	/* looked at after the reading: a change before it or meanwhile shows */
	return file_open(r, d, e, path, error) && file_read(r, offset, length, out, path, error) &&
	       file_check(r, path, error);
}
