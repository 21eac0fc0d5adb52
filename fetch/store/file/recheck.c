/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A chunk of a dead epoch is compared with its recorded hash before it is present. */
#include <errno.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/store/file/store_file_private.h"
#include "fetch/store/object/mapfile.h"

#define VERIFY_BYTES 262144

static int chunk_hash(struct store_file *f, uint64_t chunk, uint64_t *hash)
{
	uint64_t offset = chunk << f->record.chunk_shift;
	uint64_t left = record_chunk_length(&f->record, chunk);
	g_autofree void *piece = g_malloc(VERIFY_BYTES);
	XXH3_state_t *state = XXH3_createState();
	int err = state ? 0 : -ENOMEM;

	if (state)
		XXH3_64bits_reset(state);
	while (err == 0 && left > 0) {
		ssize_t n = pread(f->fd, piece, MIN(left, VERIFY_BYTES), (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			err = -errno;
		else if (n == 0)
			err = -ESTALE; /* shorter than the record says: not intact */
		else
			XXH3_64bits_update(state, piece, (size_t)n);
		offset += n;
		left -= n;
	}
	if (err == 0)
		*hash = hash_stored(XXH3_64bits_digest(state));
	XXH3_freeState(state);
	return err;
}

static int recorded_hash(struct store_file *f, uint64_t chunk, uint64_t *hash)
{
	if (f->map.chunks > 1)
		return mapfile_read(f->map_fd, chunk, hash);
	mutex_lock(&f->lock);
	*hash = f->record.hash;
	mutex_unlock(&f->lock);
	return 0;
}

/* Records the chunk as absent before file_update() can give the record the current epoch. */
static int chunk_forget(struct store_file *f, uint64_t chunk)
{
	int err;

	if (f->map.chunks > 1) {
		err = mapfile_write(f->map_fd, f->record.id, chunk, 0, MARK_REMOTE);
	} else {
		mutex_lock(&f->lock);
		err = file_record_locked(f, f->record.flags & RECORD_KEPT, 0);
		mutex_unlock(&f->lock);
	}
	if (err)
		return err;
	map_set_absent(&f->map, chunk);
	return -ESTALE;
}

/* Under `writing`. */
static int verify_settle(struct store_file *f, uint64_t chunk, bool matches, uint64_t hash)
{
	if (map_is_present(&f->map, chunk, chunk)) /* written locally meanwhile */
		return 0;
	if (f->local || f->taken)
		return -ECANCELED;
	if (!map_is_doubtful(&f->map, chunk)) /* evicted since its bytes were read */
		return -ESTALE;
	if (!matches)
		return chunk_forget(f, chunk);
	if (f->map.chunks == 1)
		return publish_single(f, hash);
	file_settle(f, chunk);
	return 0;
}

int store_file_verify(struct store_file *f, uint64_t chunk)
{
	uint64_t hash = 0, recorded = 0;
	int err;

	if (chunk >= f->map.chunks)
		return -EINVAL;
	if (map_is_present(&f->map, chunk, chunk))
		return 0;
	if (!map_is_doubtful(&f->map, chunk))
		return -ESTALE;
	err = epoch_begin(&f->store->epoch);
	if (err == 0)
		err = recorded_hash(f, chunk, &recorded);
	if (err == 0)
		err = chunk_hash(f, chunk, &hash);
	if (err && err != -ESTALE)
		return err;
	rwlock_rdlock(&f->writing);
	err = verify_settle(f, chunk, err == 0 && hash == recorded, hash);
	rwlock_unlock(&f->writing);
	file_update(f);
	return err;
}
