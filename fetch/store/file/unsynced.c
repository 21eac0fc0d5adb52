/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/store/file/unsynced.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/base/hole.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/object/mapfile.h"

struct checking {
	int fd, map_fd;
	const struct record *record;
	uint64_t size; /* of the file */
	char *buffer;  /* of a chunk */
};

static bool is_dirty(struct store *s, uint64_t id)
{
	char path[SHARD_PATH_MAX];

	shard_path("dirty", id, path);
	return faccessat(s->state, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* 1: local; 0: as fetched, or absent (then *lost). */
static int chunk_is_local(const struct checking *c, uint64_t chunk, bool *lost)
{
	const struct record *r = c->record;
	uint64_t at = chunk << r->chunk_shift, hash, found;
	uint64_t end = at + record_chunk_length(r, chunk), there = MIN(end, c->size);
	ssize_t n = 0;
	int err = mapfile_read(c->map_fd, chunk, &hash);

	*lost = false;
	if (err || at >= there)
		return err;
	if (there == end && hash) {
		n = pread(c->fd, c->buffer, there - at, (off_t)at);
		found = n < 0 ? 0 : XXH3_64bits(c->buffer, (size_t)n);
		if (n == (ssize_t)(there - at) && (found ? found : 1) == hash)
			return 0;
	}
	/* data past the limit is always local, and may be a hole */
	if (r->flags & RECORD_LIMIT)
		there = MIN(there, r->remote_limit);
	*lost = at < there && hole_before(c->fd, (off_t)at, (off_t)there);
	return n < 0 ? -errno : !*lost;
}

static int chunks_keep(const struct checking *c, const GArray *chunks, struct unsynced *u)
{
	bool lost = false;

	for (guint n = 0; n < chunks->len; n++) {
		uint64_t chunk = g_array_index(chunks, uint64_t, n);
		int local = chunk < record_chunks(c->record) ? chunk_is_local(c, chunk, &lost) : 0;
		int err = local > 0 ? mapfile_mark(c->map_fd, c->record->id, chunk, MARK_LOCAL)
		                    : local;

		if (err)
			return err;
		u->kept += local > 0;
		u->lost += local == 0 && lost;
	}
	return 0;
}

int unsynced_keep(struct store *s, int fd, const struct record *r, struct unsynced *u)
{
	g_autoptr(GArray) chunks = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	struct checking c = {.fd = fd, .record = r};
	struct stat st;
	int err;

	if (u->epoch == 0 || !is_dirty(s, r->id))
		return 0;
	c.map_fd = mapfile_open(s->state, r);
	if (c.map_fd < 0)
		return c.map_fd == -ESTALE ? 0 : c.map_fd;
	err = mapfile_find(c.map_fd, r->id, u->epoch, chunks);
	if (err == 0 && chunks->len > 0) {
		if (fstat(fd, &st) < 0 || fdatasync(fd) < 0)
			err = -errno;
		c.size = (uint64_t)st.st_size;
		c.buffer = g_malloc((size_t)1 << r->chunk_shift);
		if (err == 0)
			err = chunks_keep(&c, chunks, u);
		if (err == 0 && fsync(c.map_fd) < 0)
			err = -errno;
		g_free(c.buffer);
	}
	close(c.map_fd);
	return err;
}
