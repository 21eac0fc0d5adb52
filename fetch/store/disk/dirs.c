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

static GBytes *read_whole(int fd, size_t size)
{
	char *data = g_try_malloc(MAX(size, 1));
	size_t got = 0;

	while (data && got < size) {
		ssize_t n = read(fd, data + got, size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			g_clear_pointer(&data, g_free);
			break;
		}
		got += n;
	}
	return data ? g_bytes_new_take(data, size) : NULL;
}

static uint64_t trailer_check(const char *data, size_t size, uint64_t ino)
{
	return XXH3_64bits_withSeed(data, MIN(size, DIRECTORY_BOUND), ino);
}

/* The listing without its trailer; NULL: it is another directory's. Earlier versions wrote none.
 */
static GBytes *trailer_take(GBytes *bytes, uint64_t ino)
{
	struct directory_trailer t;
	gsize size;
	const char *data = g_bytes_get_data(bytes, &size);

	if (size < sizeof t)
		return bytes;
	memcpy(&t, data + size - sizeof t, sizeof t);
	if (GUINT64_FROM_LE(t.magic) != DIRECTORY_MAGIC)
		return bytes;
	size -= sizeof t;
	GBytes *listing = NULL;
	if (GUINT64_FROM_LE(t.check) == trailer_check(data, size, ino))
		listing = g_bytes_new_from_bytes(bytes, 0, size);
	else
		g_message("the stored listing of directory %016" PRIx64 " is another one's", ino);
	g_bytes_unref(bytes);
	return listing;
}

GBytes *store_listing_load(struct store *s, uint64_t ino)
{
	int fd = shard_open(s->state, "dirs", ino, O_RDONLY);
	GBytes *bytes = NULL;
	struct stat st;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size <= LISTING_MAX)
		bytes = read_whole(fd, (size_t)st.st_size);
	close(fd);
	return bytes ? trailer_take(bytes, ino) : NULL;
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
