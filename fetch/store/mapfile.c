/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/store/mapfile.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/store/shard.h"

#define SLOTS_AT_ONCE 4096

static off_t slot_offset(uint64_t chunk)
{
	return (off_t)(sizeof(struct map_header) + chunk * sizeof(struct map_slot));
}

static uint64_t header_checksum(const struct map_header *h)
{
	return XXH3_64bits(h, offsetof(struct map_header, checksum));
}

int mapfile_create(int state, const struct record *r)
{
	struct map_header h = {
	        .magic = GUINT64_TO_LE(MAP_MAGIC),
	        .format = STORE_FORMAT,
	        .chunk_shift = r->chunk_shift,
	        .id = GUINT64_TO_LE(r->id),
	        .ino = GUINT64_TO_LE(r->ino),
	        .size = GUINT64_TO_LE(r->size),
	        .version = GUINT64_TO_LE(r->version),
	};
	int fd = shard_open(state, "maps", r->id, O_RDWR | O_CREAT | O_EXCL);
	ssize_t n;

	if (fd < 0)
		return fd;
	h.checksum = GUINT64_TO_LE(header_checksum(&h));
	n = pwrite(fd, &h, sizeof h, 0);
	if (n != sizeof h) {
		int err = n < 0 ? -errno : -ENOSPC;

		close(fd);
		shard_unlink(state, "maps", r->id);
		return err;
	}
	return fd;
}

bool mapfile_check(const void *data, size_t length, const struct record *r)
{
	struct map_header h;

	if (length < sizeof h)
		return false;
	memcpy(&h, data, sizeof h);
	return GUINT64_FROM_LE(h.checksum) == header_checksum(&h) &&
	       GUINT64_FROM_LE(h.magic) == MAP_MAGIC && h.format == STORE_FORMAT &&
	       h.chunk_shift == r->chunk_shift && GUINT64_FROM_LE(h.id) == r->id &&
	       GUINT64_FROM_LE(h.ino) == r->ino && GUINT64_FROM_LE(h.size) == r->size &&
	       GUINT64_FROM_LE(h.version) == r->version;
}

int mapfile_open(int state, const struct record *r)
{
	char header[sizeof(struct map_header)];
	int fd = shard_open(state, "maps", r->id, O_RDWR), err = 0;
	ssize_t n;

	if (fd < 0)
		return fd == -ENOENT || fd == -ELOOP || fd == -EISDIR ? -ESTALE : fd;
	n = pread(fd, header, sizeof header, 0);
	if (n < 0)
		err = errno == EINVAL || errno == ESPIPE ? -ESTALE : -errno;
	else if (!mapfile_check(header, (size_t)n, r))
		err = -ESTALE;
	if (err == 0)
		return fd;
	close(fd);
	return err;
}

/* Past the end of the file all is absent. */
int mapfile_load(int fd, const struct record *r, bool doubt, struct map *m)
{
	g_autofree struct map_slot *slots = g_new(struct map_slot, SLOTS_AT_ONCE);
	uint64_t chunks = record_chunks(r);

	for (uint64_t k = 0; k < chunks;) {
		uint64_t want = MIN(chunks - k, SLOTS_AT_ONCE);
		ssize_t n = pread(fd, slots, want * sizeof *slots, slot_offset(k));
		uint64_t got = n > 0 ? (uint64_t)n / sizeof *slots : 0;

		if (n < 0)
			return -errno;
		if (got == 0)
			return 0;
		for (uint64_t i = 0; i < got; i++) {
			int err = 0;

			if (slots[i].mark != MARK_REMOTE || slots[i].reserved != 0)
				return -EOPNOTSUPP;
			if (slots[i].hash == 0)
				continue;
			if (doubt)
				err = map_doubt(m, k + i);
			else
				map_set_present(m, k + i);
			if (err)
				return err;
		}
		k += got;
	}
	return 0;
}

int mapfile_read(int fd, uint64_t chunk, uint64_t *hash)
{
	struct map_slot slot;
	ssize_t n = pread(fd, &slot, sizeof slot, slot_offset(chunk));

	if (n < 0)
		return -errno;
	*hash = n == sizeof slot ? GUINT64_FROM_LE(slot.hash) : 0;
	return 0;
}

int mapfile_write(int fd, uint64_t chunk, uint64_t hash)
{
	struct map_slot slot = {.hash = GUINT64_TO_LE(hash)};
	ssize_t n = pwrite(fd, &slot, sizeof slot, slot_offset(chunk));

	if (n == sizeof slot)
		return 0;
	return n < 0 ? -errno : -ENOSPC;
}
