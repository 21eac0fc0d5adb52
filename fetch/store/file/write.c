/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Local writes to a file that follows the remote, chunk by chunk.
 *
 *   a present chunk:                     mark it dirty, then write
 *   an absent chunk, covered completely: write, then mark it dirty: a mark never refers to
 *                                        missing bytes
 *   an absent chunk, covered in part:    -EAGAIN; it must be fetched first
 *
 * Locking: `changing` is held throughout. `writing` is write-locked, so that no remote data arrives
 *          meanwhile; across an fsync `taken` refuses remote data instead, and no thread blocks */
#include <errno.h>
#include <unistd.h>
#include "fetch/base/pool.h"
#include "fetch/store/file/store_file_private.h"
#include "fetch/store/object/mapfile.h"

/* The chunks of [offset, end) that follow the remote; false: none. */
static bool span_of(const struct store_file *f, uint64_t offset, uint64_t end, uint64_t *first,
                    uint64_t *last)
{
	unsigned shift = f->record.chunk_shift;

	end = MIN(end, f->limit);
	if (offset >= end)
		return false;
	*first = offset >> shift;
	*last = (end - 1) >> shift;
	return true;
}

/* The end of `chunk`, or of the part of it that follows the remote. */
static uint64_t end_of(const struct store_file *f, uint64_t chunk)
{
	unsigned shift = f->record.chunk_shift;

	return MIN(f->limit, (chunk << shift) + record_chunk_length(&f->record, chunk));
}

static bool covers(const struct store_file *f, uint64_t chunk, uint64_t offset, uint64_t end)
{
	return offset <= chunk << f->record.chunk_shift && end >= end_of(f, chunk);
}

static bool covers_single(const struct store_file *f, uint64_t offset, uint64_t length)
{
	return offset == 0 && length >= f->record.size;
}

/* Only the first and the last chunk can be covered in part. */
bool store_file_lacks(struct store_file *f, uint64_t offset, uint64_t length, uint64_t *from,
                      uint64_t *count)
{
	uint64_t first, last, end = offset + length;
	bool lacks = false;

	rwlock_rdlock(&f->writing);
	if (!f->local && f->map.chunks < 2) {
		lacks = !map_is_full(&f->map) && !covers_single(f, offset, length);
		*from = 0;
		*count = f->record.size;
	} else if (!f->local && span_of(f, offset, end, &first, &last)) {
		const uint64_t edges[] = {first, last};

		for (int n = 0; n < 2 && !lacks; n++) {
			uint64_t k = edges[n];

			lacks = !covers(f, k, offset, end) && !map_is_present(&f->map, k, k);
			*from = k << f->record.chunk_shift;
			*count = record_chunk_length(&f->record, k);
		}
	}
	rwlock_unlock(&f->writing);
	return lacks;
}

/* Records that the size may differ from the remote's from now on, and the current time as mtime. */
static int change_begin(struct store_file *f)
{
	int64_t before;
	int err = 0;

	mutex_lock(&f->lock);
	before = f->record.mtime_ns;
	if (f->map_fd < 0)
		err = file_map_locked(f);
	if (err == 0)
		err = map_prepare_locals(&f->map);
	if (err == 0) {
		f->record.mtime_ns = clock_realtime();
		f->record.remote_limit = f->limit;
		err = file_record_again_locked(f,
		                               (f->record.flags & ~RECORD_COMPLETE) | RECORD_LIMIT);
	}
	if (err)
		f->record.mtime_ns = before;
	mutex_unlock(&f->lock);
	return err;
}

static int mark_present(struct store_file *f, uint64_t first, uint64_t last)
{
	for (uint64_t k = first; k <= last; k++) {
		int err;

		if (map_is_local(&f->map, k) || !map_is_present(&f->map, k, k))
			continue;
		err = dirty_mark(f, k, true);
		if (err)
			return err;
		map_set_local(&f->map, k);
	}
	return 0;
}

/* Marks the absent chunks that were written up to `end`. Returns the offset up to which every
 * written byte is marked. */
static uint64_t mark_covered(struct store_file *f, uint64_t first, uint64_t last, uint64_t end,
                             int *err)
{
	for (uint64_t k = first; k <= last && k << f->record.chunk_shift < end; k++) {
		if (map_is_local(&f->map, k))
			continue;
		*err = end < end_of(f, k) ? -ENOSPC : dirty_mark(f, k, false);
		if (*err)
			return k << f->record.chunk_shift;
		map_set_local(&f->map, k);
		map_set_present(&f->map, k);
	}
	return end;
}

static int64_t change_chunks(struct store_file *f, uint64_t offset, uint64_t length,
                             store_change change, void *user)
{
	uint64_t first, last, end;
	bool remote = span_of(f, offset, offset + length, &first, &last);
	int64_t n;
	int err;

	for (uint64_t k = first; remote && k <= last; k++)
		if (!covers(f, k, offset, offset + length) && !map_is_present(&f->map, k, k))
			return -EAGAIN;
	err = change_begin(f);
	if (err == 0 && remote)
		err = mark_present(f, first, last);
	if (err)
		return err;
	n = change(f->fd, user);
	if (n <= 0 || !remote)
		return n;
	end = mark_covered(f, first, last, offset + (uint64_t)n, &err);
	return end > offset ? (int64_t)(end - offset) : err;
}

static void taken_set(struct store_file *f, bool taken)
{
	rwlock_wrlock(&f->writing);
	f->taken = taken;
	rwlock_unlock(&f->writing);
}

/* For a file without a map. If data written to an absent chunk cannot be recorded, the chunk stays
 * absent and the file gets the remote size again. */
static int64_t change_single(struct store_file *f, uint64_t offset, uint64_t length,
                             store_change change, void *user)
{
	int64_t n;
	int err = 0;

	taken_set(f, true);
	if (map_is_full(&f->map)) {
		err = file_localise(f, false, false);
		n = err ? err : change(f->fd, user);
	} else if (covers_single(f, offset, length)) {
		n = change(f->fd, user);
		if (n >= 0 && (uint64_t)n < f->record.size)
			err = -ENOSPC;
		if (n >= 0 && err == 0)
			err = file_localise(f, true, false);
		if (n < 0 || err)
			file_uncut(f);
		n = err ? err : n;
	} else {
		n = -EAGAIN;
	}
	taken_set(f, false);
	return n;
}

/* Refuses a change that could not be made durable: it would be lost with the epoch. Local files are
 * exempt. */
int file_change_begin(struct store_file *f)
{
	int err = epoch_begin(&f->store->epoch);

	return err || store_file_local(f) ? err : epoch_trust(&f->store->epoch);
}

/* For a file of several chunks: all are present, and none was ever changed locally. */
static bool is_whole(const struct store_file *f)
{
	return map_is_full(&f->map) && !(f->record.flags & RECORD_LIMIT);
}

int64_t store_file_change(struct store_file *f, uint64_t offset, uint64_t length,
                          store_change change, void *user)
{
	int64_t n = file_change_begin(f);

	if (n < 0)
		return n;
	if (offset > INT64_MAX || length > INT64_MAX - offset)
		return -EFBIG;
	mutex_lock(&f->changing);
	g_assert(f->record.flags & RECORD_KEPT);
	if (f->local) {
		n = change(f->fd, user);
	} else if (f->map.chunks < 2) {
		n = change_single(f, offset, length, change, user);
	} else if (is_whole(f)) {
		n = -EAGAIN;
	} else {
		rwlock_wrlock(&f->writing);
		n = change_chunks(f, offset, length, change, user);
		rwlock_unlock(&f->writing);
	}
	mutex_unlock(&f->changing);
	return n;
}

/* Lowers the record's limit after the size: file_load_limit() completes a truncation that a crash
 * interrupted. */
int file_truncate_locked(struct store_file *f, uint64_t size)
{
	uint64_t chunk = UINT64_C(1) << f->record.chunk_shift;
	int err = change_begin(f);

	if (err == 0 && ftruncate(f->fd, (off_t)size) < 0)
		err = -errno;
	if (err || size >= f->limit)
		return err;
	f->limit = size;
	map_own_from(&f->map, (size + chunk - 1) / chunk);
	change_begin(f); /* if it fails, the size implies the limit, and the next change retries */
	return 0;
}

int store_file_truncate(struct store_file *f, uint64_t size)
{
	int err = file_change_begin(f);

	if (err)
		return err;
	mutex_lock(&f->changing);
	rwlock_wrlock(&f->writing);
	if (!f->local && (f->map.chunks < 2 || is_whole(f)))
		err = -EAGAIN;
	else if (!f->local)
		err = file_truncate_locked(f, size);
	else if (ftruncate(f->fd, (off_t)size) < 0)
		err = -errno;
	rwlock_unlock(&f->writing);
	mutex_unlock(&f->changing);
	return err;
}

bool store_file_local(struct store_file *f)
{
	bool local;

	rwlock_rdlock(&f->writing);
	local = f->local;
	rwlock_unlock(&f->writing);
	return local;
}

bool store_file_changed(struct store_file *f)
{
	bool changed;

	mutex_lock(&f->lock);
	changed = f->record.flags & (RECORD_LIMIT | RECORD_LOCAL);
	mutex_unlock(&f->lock);
	return changed;
}

/* `writing` stays locked if it lends: that depends on the result. */
int store_file_lend(struct store_file *f, uint64_t offset,
                    uint64_t length) NO_THREAD_SAFETY_ANALYSIS
{
	unsigned shift = f->record.chunk_shift;
	bool free;

	rwlock_rdlock(&f->writing);
	free = !f->local && !f->taken && length > 0 && offset + length <= f->limit;
	for (uint64_t k = offset >> shift; free && k <= (offset + length - 1) >> shift; k++)
		free = !map_is_local(&f->map, k);
	/* a source that places the bytes itself may skip zeros */
	if (free && f->map.chunks == 1 && !map_is_full(&f->map))
		free = ftruncate(f->fd, (off_t)f->record.size) == 0;
	if (free)
		return f->fd;
	rwlock_unlock(&f->writing);
	return -1;
}

void store_file_give_back(struct store_file *f) NO_THREAD_SAFETY_ANALYSIS /* as above */
{
	rwlock_unlock(&f->writing);
}
