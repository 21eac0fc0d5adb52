/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/store/disk/shard.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sys/stat.h>
#include <unistd.h>

void shard_path(const char *kind, uint64_t number, char path[SHARD_PATH_MAX])
{
	g_snprintf(path, SHARD_PATH_MAX, "%s/%02x/%016" G_GINT64_MODIFIER "x", kind,
	           (unsigned)(number & 0xff), number);
}

int shard_make(int state, const char *kind, uint64_t number)
{
	char path[SHARD_PATH_MAX];

	if (mkdirat(state, kind, 0700) < 0 && errno != EEXIST)
		return -errno;
	g_snprintf(path, sizeof path, "%s/%02x", kind, (unsigned)(number & 0xff));
	if (mkdirat(state, path, 0700) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

int shard_open(int state, const char *kind, uint64_t number, int flags)
{
	char path[SHARD_PATH_MAX];
	int fd;

	flags |= O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
	shard_path(kind, number, path);
	fd = openat(state, path, flags, 0600);
	if (fd < 0 && errno == ENOENT && (flags & O_CREAT)) {
		int err = shard_make(state, kind, number);

		if (err)
			return err;
		fd = openat(state, path, flags, 0600);
	}
	return fd < 0 ? -errno : fd;
}

int shard_unlink(int state, const char *kind, uint64_t number)
{
	char path[SHARD_PATH_MAX];

	shard_path(kind, number, path);
	return unlinkat(state, path, 0) < 0 ? -errno : 0;
}
