/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Listings: STATE/dirs. A file is complete or missing while the machine runs; after a crash it may
 * be empty, which its checksum shows. A trailer binds it to its directory. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/store/disk/format.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/disk/store_private.h"

#define LISTING_MAX ((UINT64_C(1) << 31) + sizeof(struct directory_trailer))

static int read_whole(int fd, size_t size, GBytes **out)
{
	g_autofree char *data = g_try_malloc(MAX(size, 1));
	size_t got = 0;

	if (data == NULL)
		return -ENOMEM;
	while (got < size) {
		ssize_t n = read(fd, data + got, size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EAGAIN; /* it is being cut */
		got += n;
	}
	*out = g_bytes_new_take(g_steal_pointer(&data), size);
	return 0;
}

static uint64_t trailer_check(const char *data, size_t size, uint64_t ino)
{
	return XXH3_64bits_withSeed(data, MIN(size, DIRECTORY_BOUND), ino);
}

/* Drops the trailer, which earlier versions did not write. */
static int trailer_take(GBytes **bytes, uint64_t ino)
{
	struct directory_trailer t;
	gsize size;
	const char *data = g_bytes_get_data(*bytes, &size);
	GBytes *listing;

	if (size < sizeof t)
		return 0;
	memcpy(&t, data + size - sizeof t, sizeof t);
	if (GUINT64_FROM_LE(t.magic) != DIRECTORY_MAGIC)
		return 0;
	size -= sizeof t;
	if (GUINT64_FROM_LE(t.check) != trailer_check(data, size, ino))
		return -EUCLEAN;
	listing = g_bytes_new_from_bytes(*bytes, 0, size);
	g_bytes_unref(*bytes);
	*bytes = listing;
	return 0;
}

int store_listing_read(struct store *s, uint64_t ino, GBytes **out)
{
	int fd = shard_open(s->state, "dirs", ino, O_RDONLY), err = 0;
	g_autoptr(GBytes) bytes = NULL;
	struct stat st;

	if (fd < 0)
		return fd == -ELOOP ? -EUCLEAN : fd;
	if (fstat(fd, &st) < 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > LISTING_MAX)
		err = -EUCLEAN;
	else
		err = read_whole(fd, (size_t)st.st_size, &bytes);
	close(fd);
	if (err == 0)
		err = trailer_take(&bytes, ino);
	if (err == 0)
		*out = g_steal_pointer(&bytes);
	return err;
}

GBytes *store_listing_load(struct store *s, uint64_t ino)
{
	GBytes *bytes = NULL;
	int err = store_listing_read(s, ino, &bytes);

	if (err == -EUCLEAN)
		g_message("the stored listing of directory %016" PRIx64 " is another one's", ino);
	return bytes;
}

static int write_whole(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		size -= n;
	}
	return 0;
}

static int rename_into(struct store *s, const char *from, uint64_t ino)
{
	char to[SHARD_PATH_MAX];
	int err;

	shard_path("dirs", ino, to);
	if (renameat(s->tmp, from, s->state, to) == 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	err = shard_make(s->state, "dirs", ino);
	if (err == 0 && renameat(s->tmp, from, s->state, to) < 0)
		err = -errno;
	return err;
}

int store_listing_save(struct store *s, uint64_t ino, GBytes *listing)
{
	char name[24];
	gsize size;
	const char *data = g_bytes_get_data(listing, &size);
	int fd, err;

	snprintf(name, sizeof name, "%016" PRIx64, store_number(s));
	fd = openat(s->tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	const struct directory_trailer t = {
	        .magic = GUINT64_TO_LE(DIRECTORY_MAGIC),
	        .check = GUINT64_TO_LE(trailer_check(data, size, ino)),
	};
	err = write_whole(fd, data, size);
	if (err == 0)
		err = write_whole(fd, (const char *)&t, sizeof t);
	if (close(fd) < 0 && err == 0)
		err = -errno;
	if (err == 0)
		err = rename_into(s, name, ino);
	if (err)
		unlinkat(s->tmp, name, 0);
	return err;
}

void store_listing_drop(struct store *s, uint64_t ino)
{
	int err = shard_unlink(s->state, "dirs", ino);

	if (err && err != -ENOENT)
		g_message("cannot remove the stored listing of directory %016" PRIx64 ": %s", ino,
		          g_strerror(-err));
}
