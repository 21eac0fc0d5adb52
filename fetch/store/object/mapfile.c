/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/store/object/mapfile.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/store/disk/shard.h"

#define SLOTS_AT_ONCE 4096

static off_t slot_offset(uint64_t chunk)
{
	return (off_t)(sizeof(struct map_header) + chunk * sizeof(struct map_slot));
}

static uint64_t header_checksum(const struct map_header *h)
{
	return XXH3_64bits(h, offsetof(struct map_header, checksum));
}

static uint32_t slot_check(uint64_t id, uint64_t chunk, uint64_t hash, uint32_t mark)
{
	const struct slot_checked what = {
	        .id = GUINT64_TO_LE(id),
	        .chunk = GUINT64_TO_LE(chunk),
	        .hash = GUINT64_TO_LE(hash),
	        .mark = GUINT64_TO_LE(mark),
	};

	return (uint32_t)XXH3_64bits(&what, sizeof what);
}

static bool slot_is_blank(const struct map_slot *slot)
{
	return slot->hash == 0 && slot->mark == 0 && slot->check == 0;
}

/* `checked`: of a map with MAP_CHECKED. Others were written by an earlier version, without checks;
 * slots written to them since have one. */
static bool slot_is_intact(const struct map_slot *slot, uint64_t id, uint64_t chunk, bool checked)
{
	return slot_is_blank(slot) || (slot->check == 0 && !checked) ||
	       GUINT32_FROM_LE(slot->check) == slot_check(id, chunk, GUINT64_FROM_LE(slot->hash),
	                                                  GUINT32_FROM_LE(slot->mark));
}

static int slots_write(int fd, const void *data, size_t length, off_t at)
{
	ssize_t n = pwrite(fd, data, length, at);

	if (n == (ssize_t)length)
		return 0;
	return n < 0 ? -errno : -ENOSPC;
}

static int header_write(int fd, const struct record *r, uint16_t flags)
{
	struct map_header h = {
	        .magic = GUINT64_TO_LE(MAP_MAGIC),
	        .format = STORE_FORMAT,
	        .chunk_shift = r->chunk_shift,
	        .flags = GUINT16_TO_LE(flags),
	        .id = GUINT64_TO_LE(r->id),
	        .ino = GUINT64_TO_LE(r->ino),
	        .size = GUINT64_TO_LE(r->size),
	        .version = GUINT64_TO_LE(r->version),
	};

	h.checksum = GUINT64_TO_LE(header_checksum(&h));
	return slots_write(fd, &h, sizeof h, 0);
}

int mapfile_create(int state, const struct record *r)
{
	const int flags = O_RDWR | O_CREAT | O_EXCL;
	int fd = shard_open(state, "maps", r->id, flags), err;

	/* a map that the record does not mention: left by a crash or a full disk */
	if (fd == -EEXIST && (fd = shard_unlink(state, "maps", r->id)) == 0)
		fd = shard_open(state, "maps", r->id, flags);
	if (fd < 0)
		return fd;
	/* the size first: a header on the disk means that the size is, too */
	err = ftruncate(fd, slot_offset(record_chunks(r))) < 0 ? -errno
	                                                       : header_write(fd, r, MAP_CHECKED);
	if (err) {
		close(fd);
		shard_unlink(state, "maps", r->id);
		return err;
	}
	return fd;
}

int mapfile_pin(int fd, const struct record *r)
{
	struct map_header h;
	ssize_t n = pread(fd, &h, sizeof h, 0);

	if (n < 0)
		return -errno;
	return header_write(fd, r, n == sizeof h ? GUINT16_FROM_LE(h.flags) : 0);
}

int mapfile_mend(int fd, const struct record *r)
{
	return header_write(fd, r, MAP_CHECKED);
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
	       /* the header is pinned first, but may reach the disk after the record */
	       (GUINT64_FROM_LE(h.version) == r->version || r->version == 0 || h.version == 0);
}

/* Also where it is damaged: it may have been local. */
static void slot_own(uint64_t chunk, const struct map_slot *slot, bool intact, void *user)
{
	bool *any = user;

	*any |= !intact || slot->mark == MARK_LOCAL;
}

/* In doubt: yes. The blocks of a map reach the disk in any order. */
static bool has_local(int fd, const struct record *r)
{
	bool any = false;

	return mapfile_foreach(fd, r, false, slot_own, &any) < 0 || any;
}

bool mapfile_is_lost(int state, const struct record *r)
{
	static const char nothing[sizeof(struct map_header)];
	char header[sizeof nothing] = "";
	int fd = shard_open(state, "maps", r->id, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : pread(fd, header, sizeof header, 0);
	bool lost =
	        n >= 0 && (fd >= 0 || fd == -ENOENT) && memcmp(header, nothing, sizeof header) == 0;

	if (lost && fd >= 0 && (r->flags & RECORD_LIMIT))
		lost = !has_local(fd, r);
	if (fd >= 0)
		close(fd);
	return lost;
}

/* 1, 0 or -errno. */
static int is_checked(int fd)
{
	struct map_header h;
	ssize_t n = pread(fd, &h, sizeof h, 0);

	if (n < 0)
		return -errno;
	return n == sizeof h && (GUINT16_FROM_LE(h.flags) & MAP_CHECKED);
}

int mapfile_is_whole(int fd, const struct record *r)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return st.st_size >= slot_offset(record_chunks(r));
}

/* 0; -ESTALE: a part of it is missing; another error: unknown. */
static int size_check(int fd, const struct record *r)
{
	int checked = is_checked(fd), whole = checked == 1 ? mapfile_is_whole(fd, r) : 1;

	if (checked < 0 || whole < 0)
		return MIN(checked, whole);
	return whole ? 0 : -ESTALE;
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
	else
		err = size_check(fd, r);
	if (err == 0)
		return fd;
	close(fd);
	return err;
}

static int slot_load(struct map *m, uint64_t chunk, const struct map_slot *slot, uint32_t epoch,
                     bool doubt, bool *dirty)
{
	uint32_t mark = GUINT32_FROM_LE(slot->mark);
	int err;

	if (mark == MARK_LOCAL || (mark != MARK_REMOTE && mark == epoch)) {
		err = map_prepare_locals(m);
		if (err)
			return err;
		map_set_local(m, chunk);
		*dirty |= mark != MARK_LOCAL;
		map_set_present(m, chunk);
		return 0;
	}
	if (slot->hash == 0)
		return 0;
	if (doubt)
		return map_doubt(m, chunk);
	map_set_present(m, chunk);
	return 0;
}

/* The first chunk from `chunk` on whose slot may be nonzero (zeros: absent). The map of a file with
 * few present chunks is mostly one hole. */
static uint64_t slots_next(int fd, uint64_t chunk)
{
	off_t at = slot_offset(chunk), data = lseek(fd, at, SEEK_DATA);

	if (data < 0)
		return errno == ENXIO ? UINT64_MAX : chunk;
	return data <= at ? chunk
	                  : ((uint64_t)data - sizeof(struct map_header)) / sizeof(struct map_slot);
}

/* Returns how many; past the end of the file all chunks are absent. */
static int slots_read(int fd, struct map_slot *slots, uint64_t chunk, uint64_t count)
{
	ssize_t n = pread(fd, slots, count * sizeof *slots, slot_offset(chunk));

	return n < 0 ? -errno : (int)((size_t)n / sizeof *slots);
}

/* Past the limit all chunks are local, whatever their slots. */
static uint64_t chunks_told(const struct record *r)
{
	uint64_t chunks = record_chunks(r), size = UINT64_C(1) << r->chunk_shift;

	if (r->flags & RECORD_LIMIT)
		chunks = MIN(chunks, r->remote_limit / size + (r->remote_limit % size != 0));
	return chunks;
}

int mapfile_load(int fd, const struct record *r, uint32_t epoch, bool doubt, struct map *m,
                 bool *dirty)
{
	g_autofree struct map_slot *slots = g_new(struct map_slot, SLOTS_AT_ONCE);
	uint64_t chunks = chunks_told(r);
	int checked = is_checked(fd), got, err = MIN(checked, 0);

	if (err)
		return err;
	for (uint64_t k = slots_next(fd, 0); k < chunks; k = slots_next(fd, k + got)) {
		got = slots_read(fd, slots, k, MIN(chunks - k, SLOTS_AT_ONCE));
		if (got <= 0)
			return got;
		for (int i = 0; i < got && err == 0; i++) {
			if (slot_is_intact(&slots[i], r->id, k + i, checked))
				err = slot_load(m, k + i, &slots[i], epoch, doubt, dirty);
			else if (r->flags & RECORD_LIMIT)
				err = -EUCLEAN;
			else /* else it would be an error once the file has local changes */
				mapfile_write(fd, r->id, k + i, 0, MARK_REMOTE);
		}
		if (err)
			return err;
	}
	return 0;
}

bool mapfile_fits(uint64_t id, uint64_t chunk, uint64_t hash, uint32_t mark, uint32_t check)
{
	return slot_check(id, chunk, hash, mark) == check;
}

int64_t mapfile_foreach(int fd, const struct record *r, bool strict, mapfile_each each, void *user)
{
	g_autofree struct map_slot *slots = g_new(struct map_slot, SLOTS_AT_ONCE);
	uint64_t chunks = record_chunks(r);
	int checked = strict ? 1 : is_checked(fd), got;
	int64_t damaged = 0;

	if (checked < 0)
		return checked;
	for (uint64_t k = slots_next(fd, 0); k < chunks; k = slots_next(fd, k + got)) {
		got = slots_read(fd, slots, k, MIN(chunks - k, SLOTS_AT_ONCE));
		if (got <= 0)
			return got < 0 ? got : damaged;
		for (int i = 0; i < got; i++) {
			struct map_slot slot = {.hash = GUINT64_FROM_LE(slots[i].hash),
			                        .mark = GUINT32_FROM_LE(slots[i].mark),
			                        .check = GUINT32_FROM_LE(slots[i].check)};
			bool intact = slot_is_intact(&slots[i], r->id, k + i, checked);

			damaged += !intact;
			if (!slot_is_blank(&slots[i]))
				each(k + i, &slot, intact, user);
		}
	}
	return damaged;
}

int mapfile_find(int fd, uint64_t id, uint32_t mark, GArray *out)
{
	g_autofree struct map_slot *slots = g_new(struct map_slot, SLOTS_AT_ONCE);
	int checked = is_checked(fd), got;

	if (checked < 0)
		return checked;
	for (uint64_t k = slots_next(fd, 0); k != UINT64_MAX; k = slots_next(fd, k + got)) {
		got = slots_read(fd, slots, k, SLOTS_AT_ONCE);
		if (got <= 0)
			return got;
		for (int i = 0; i < got; i++) {
			uint64_t chunk = k + i;

			if (GUINT32_FROM_LE(slots[i].mark) == mark &&
			    slot_is_intact(&slots[i], id, chunk, checked))
				g_array_append_val(out, chunk);
		}
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

int mapfile_write(int fd, uint64_t id, uint64_t chunk, uint64_t hash, uint32_t mark)
{
	struct map_slot slot = {.hash = GUINT64_TO_LE(hash), .mark = GUINT32_TO_LE(mark)};

	if (hash || mark) /* else absent: zeros */
		slot.check = GUINT32_TO_LE(slot_check(id, chunk, hash, mark));
	return slots_write(fd, &slot, sizeof slot, slot_offset(chunk));
}

int mapfile_mark(int fd, uint64_t id, uint64_t chunk, uint32_t mark)
{
	uint64_t hash;
	int err = mapfile_read(fd, chunk, &hash);

	return err ? err : mapfile_write(fd, id, chunk, hash, mark);
}
