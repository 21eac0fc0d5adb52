/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The map of a file: its header repeats the record, and each slot has its check. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "fetch/base/hole.h"
#include "fetch/check/check_private.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/object/mapfile.h"

#define COPY_OUT                                                                                   \
	"unmount, copy from this file of the store what is yours, and move it out of the store: "  \
	"then the source's version is shown again"

struct slots {
	struct check *check;
	struct check_file *file;
	uint64_t dirty, damaged, lost;
};

/* A bare mark is believed where the chunk has bytes: what was written locally has no hole, and a
 * sector of ones is no mark. */
static bool slot_is_local(const struct slots *s, uint64_t k, const struct map_slot *slot)
{
	const struct record *r = s->file->record;
	uint64_t at = k << r->chunk_shift;
	uint64_t end = MIN(at + record_chunk_length(r, k), s->file->limit);

	if (mapfile_fits(r->id, k, slot->hash, MARK_LOCAL, slot->check))
		return true;
	return slot->mark == MARK_LOCAL &&
	       (slot->hash != UINT64_MAX || slot->check != UINT32_MAX) &&
	       !hole_before(s->file->fd, (off_t)at, (off_t)end);
}

/* A damaged slot of a file that may have local chunks. What the chunk is, is known if it is marked
 * as local, if its bytes match the hash, or if the slot's check is right for its bytes or its hash
 * with such a mark. */
static bool slot_mend(struct slots *s, uint64_t k, const struct map_slot *slot)
{
	const struct record *r = s->file->record;
	uint64_t bytes = 0, hash = slot->hash;
	bool read = check_digest(s->check, s->file, k, &bytes) == 0;
	bool local = slot_is_local(s, k, slot);

	if (!local &&
	    (!read || (bytes != hash && !mapfile_fits(r->id, k, bytes, MARK_REMOTE, slot->check))))
		return false;
	if (!check_repairs(s->check))
		return true;
	return mapfile_write(s->file->map_fd, r->id, k, local ? hash : bytes,
	                     local ? MARK_LOCAL : MARK_REMOTE) == 0;
}

static void slot_look(uint64_t k, const struct map_slot *slot, bool intact, void *user)
{
	struct slots *s = user;

	if (k << s->file->record->chunk_shift >= s->file->limit) /* local, whatever its slot */
		return;
	s->damaged += !intact;
	s->dirty += intact && slot->mark != MARK_REMOTE && slot->mark != MARK_LOCAL &&
	            slot->mark == s->check->epoch;
	if (intact)
		return;
	if (!(s->file->record->flags & RECORD_LIMIT))
		g_array_append_val(s->file->bad, k);
	else if (!slot_mend(s, k, slot))
		s->lost++;
}

static void dirty_check(struct check *c, const struct check_file *f)
{
	char path[SHARD_PATH_MAX];
	int fd = -1;

	shard_path("dirty", f->record->id, path);
	if (faccessat(c->store->state, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return;
	if (check_repairs(c))
		fd = shard_open(c->store->state, "dirty", f->record->id, O_WRONLY | O_CREAT);
	check_found(c, fd >= 0, NULL, "local writes to it would not become durable (state/dirty)");
	if (fd >= 0)
		close(fd);
}

/* An unusable map. Without local chunks a new one is written: all chunks are absent. */
static bool map_lost(struct check *c, struct check_file *f, const char *what)
{
	const struct record *r = f->record;
	struct record absent = *r;
	bool repaired = false;
	int fd;

	if (r->flags & RECORD_LIMIT) {
		check_found(
		        c, false, COPY_OUT,
		        "its map is %s (state/maps), and it has local changes: it cannot be read",
		        what);
		return false;
	}
	absent.flags &= ~RECORD_COMPLETE;
	if (check_repairs(c) && record_write(f->fd, &absent) == 0 && fsync(f->fd) == 0) {
		fd = mapfile_create(c->store->state, r);
		repaired = fd >= 0;
		if (fd >= 0)
			close(fd);
	}
	check_found(c, repaired, NULL, "its map is %s (state/maps): all of it is fetched again",
	            what);
	return false;
}

static void slots_report(struct check *c, struct check_file *f, const struct slots *s)
{
	bool repaired = check_repairs(c) && fsync(f->map_fd) == 0;

	if (s->damaged > s->lost && (f->record->flags & RECORD_LIMIT))
		check_found(c, repaired, NULL,
		            "%" G_GUINT64_FORMAT
		            " entries of its map are damaged (state/maps), and %s",
		            s->damaged - s->lost, repaired ? "were restored" : "can be restored");
	if (s->lost)
		check_found(c, false, COPY_OUT,
		            "%" G_GUINT64_FORMAT
		            " entries of its map are damaged (state/maps), and the chunks may be "
		            "local: it cannot be read",
		            s->lost);
	if (s->dirty)
		dirty_check(c, f);
}

static void slot_count(uint64_t k, const struct map_slot *slot, bool intact, void *user)
{
	uint64_t *any = user;

	*any += 1;
}

/* A head of zeros may be that of a whole lost block, whose slots look like those of absent chunks.
 */
static bool head_is_blank(int fd)
{
	static const char nothing[sizeof(struct map_header)];
	char head[sizeof nothing];

	return pread(fd, head, sizeof head, 0) != sizeof head ||
	       memcmp(head, nothing, sizeof head) == 0;
}

/* Each slot's checksum covers file id and index: if all are intact, the header is rebuilt from the
 * record. */
static bool header_mend(struct check *c, struct check_file *f)
{
	int whole = mapfile_is_whole(f->map_fd, f->record);
	bool repaired = false;
	uint64_t any = 0;
	int64_t damaged =
	        whole == 1 ? mapfile_foreach(f->map_fd, f->record, true, slot_count, &any) : whole;

	if (damaged < 0) {
		check_unread(c, (int)damaged);
		return false;
	}
	if (whole == 0 || damaged != 0 || any == 0 ||
	    ((f->record->flags & RECORD_LIMIT) && head_is_blank(f->map_fd)))
		return map_lost(c, f, whole ? "damaged" : "cut short");
	if (check_repairs(c))
		repaired = mapfile_mend(f->map_fd, f->record) == 0 && fsync(f->map_fd) == 0;
	check_found(c, repaired, NULL, "the head of its map is damaged (state/maps), and %s",
	            repaired ? "was restored" : "can be restored");
	return true;
}

bool check_map(struct check *c, struct check_file *f)
{
	const struct record *r = f->record;
	struct slots s = {.check = c, .file = f};
	int flags = check_repairs(c) ? O_RDWR : O_RDONLY;
	int fd = mapfile_open(c->store->state, r);
	int64_t damaged;

	if (fd == -ESTALE) {
		f->map_fd = shard_open(c->store->state, "maps", r->id, flags);
		if (f->map_fd < 0 && r->version == 0 && !(r->flags & RECORD_LIMIT))
			return false; /* nothing was fetched yet */
		if (f->map_fd >= 0)
			return header_mend(c, f);
		fd = f->map_fd;
		if (fd == -ENOENT || fd == -ELOOP || fd == -EISDIR)
			return map_lost(c, f, "missing");
	}
	if (fd < 0) {
		check_unread(c, fd);
		return false;
	}
	f->map_fd = fd;
	damaged = mapfile_foreach(fd, r, false, slot_look, &s);
	if (damaged < 0)
		check_unread(c, (int)damaged);
	else
		slots_report(c, f, &s);
	return damaged >= 0;
}
