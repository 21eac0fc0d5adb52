/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/dirents.h"
#include <errno.h>
#include <glib.h>
#include <linux/limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER (32 * 1024)

/* The kernel's record is the library's. */
G_STATIC_ASSERT(sizeof(((struct dirent *)NULL)->d_off) == 8);
G_STATIC_ASSERT(offsetof(struct dirent, d_name) == 19);

struct dirents {
	int fd;
	size_t at, end; /* in the buffer */
	_Alignas(struct dirent) char buffer[BUFFER];
};

struct dirents *dirents_new(int fd)
{
	struct dirents *d = g_new(struct dirents, 1);

	d->fd = fd;
	d->at = d->end = 0;
	return d;
}

void dirents_free(struct dirents *d)
{
	close(d->fd);
	g_free(d);
}

/* The file system may not know the link count; the kernel knows which directories it removed. */
static bool is_removed(int fd)
{
	static const char mark[] = " (deleted)";
	const ssize_t size = sizeof mark - 1;
	char link[32], path[PATH_MAX];
	struct stat st;
	ssize_t length;

	g_snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof path);
	return length > size && memcmp(path + length - size, mark, (size_t)size) == 0 &&
	       fstat(fd, &st) == 0 && st.st_nlink == 0;
}

static int dirents_failed(const struct dirents *d, int err)
{
	return err == ENOENT && !is_removed(d->fd) ? -EIO : -err;
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int dirents_next(struct dirents *d, struct dirent **e)
{
	do {
		if (d->at == d->end) {
			ssize_t got = getdents64(d->fd, d->buffer, sizeof d->buffer);

			if (got <= 0)
				return got < 0 ? dirents_failed(d, errno) : 0;
			d->at = 0;
			d->end = (size_t)got;
		}
		*e = (struct dirent *)(void *)(d->buffer + d->at);
		d->at += (*e)->d_reclen;
	} while (is_dots((*e)->d_name));
	return 1;
}
