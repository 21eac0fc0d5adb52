/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Cached data, compared with its hashes, and dropped where it does not match. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/check/check_private.h"
#include "fetch/store/object/mapfile.h"

#define PIECE_BYTES 262144
#define ASK_BYTES (UINT64_C(16) << 20)

int check_digest(struct check *c, const struct check_file *f, uint64_t k, uint64_t *hash)
{
	uint64_t offset = k << f->record->chunk_shift, left = record_chunk_length(f->record, k);
	g_autofree void *piece = g_malloc(PIECE_BYTES);
	XXH3_state_t *state = XXH3_createState();
	int err = state ? 0 : -ENOMEM;

	if (state)
		XXH3_64bits_reset(state);
	while (err == 0 && left > 0) {
		ssize_t n = pread(f->fd, piece, MIN(left, PIECE_BYTES), (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err = n < 0 ? -errno : -ENODATA; /* shorter than the record says */
			break;
		}
		XXH3_64bits_update(state, piece, (size_t)n);
		offset += (uint64_t)n;
		left -= (uint64_t)n;
		c->totals.bytes += (uint64_t)n;
	}
	if (err == 0)
		*hash = MAX(XXH3_64bits_digest(state), 1);
	XXH3_freeState(state);
	return err;
}

struct comparing {
	struct check *check;
	struct check_file *file;
	int err; /* of a read */
};

static void compare(struct comparing *w, uint64_t k, uint64_t hash)
{
	uint64_t bytes = 0;
	int err = check_digest(w->check, w->file, k, &bytes);

	if (err == -ENODATA || (err == 0 && bytes != hash))
		g_array_append_val(w->file->bad, k);
	else if (err)
		w->err = err;
	if (w->check->totals.bytes - w->check->asked > ASK_BYTES)
		check_goes_on(w->check);
}

/* A chunk that reaches past the limit has local data, too. */
static void slot_compare(uint64_t k, const struct map_slot *slot, bool intact, void *user)
{
	struct comparing *w = user;
	const struct record *r = w->file->record;
	uint64_t end = (k << r->chunk_shift) + record_chunk_length(r, k);

	if (w->check->stopped || !intact || slot->hash == 0 || slot->mark == MARK_LOCAL ||
	    slot->mark == w->check->epoch || end > w->file->limit)
		return;
	compare(w, k, slot->hash);
}

void check_bytes(struct check *c, struct check_file *f)
{
	struct comparing w = {.check = c, .file = f};

	if (f->map_fd >= 0)
		mapfile_foreach(f->map_fd, f->record, false, slot_compare, &w);
	else if (record_chunks(f->record) == 1 && f->record->hash)
		compare(&w, 0, f->record->hash);
	if (w.err)
		check_unread(c, w.err);
}

static int chunks_forget(struct check_file *f)
{
	struct record r = *f->record;
	int err;

	r.flags &= ~RECORD_COMPLETE;
	r.hash = 0;
	err = record_write(f->fd, &r);
	for (guint n = 0; n < f->bad->len && err == 0 && f->map_fd >= 0; n++)
		err = mapfile_write(f->map_fd, r.id, g_array_index(f->bad, uint64_t, n), 0,
		                    MARK_REMOTE);
	if (err == 0 && f->map_fd >= 0 && fsync(f->map_fd) < 0)
		err = -errno;
	if (err == 0 && fsync(f->fd) < 0)
		err = -errno;
	return err;
}

/* A record says durably that the chunks are absent before their bytes go. */
int check_drop(struct check_file *f)
{
	unsigned shift = f->record->chunk_shift;
	int err = chunks_forget(f);

	for (guint n = 0; n < f->bad->len && err == 0; n++) {
		uint64_t k = g_array_index(f->bad, uint64_t, n);

		if (fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		              (off_t)(k << shift), (off_t)record_chunk_length(f->record, k)) < 0 &&
		    errno != EOPNOTSUPP)
			err = -errno;
	}
	return err;
}
