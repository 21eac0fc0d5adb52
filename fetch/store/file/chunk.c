/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The chunks of a local file: data is written first, then its presence. */
#include <errno.h>
#include <unistd.h>
#include "fetch/base/nanoseconds.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/file/store_file_private.h"
#include "fetch/store/object/mapfile.h"

uint64_t store_file_chunks(const struct store_file *f)
{
	return f->map.chunks;
}

uint64_t store_file_chunks_present(const struct store_file *f)
{
	return __atomic_load_n(&f->map.present, __ATOMIC_ACQUIRE);
}

uint64_t store_file_chunks_between(const struct store_file *f, uint64_t from, uint64_t to)
{
	return map_count_present(&f->map, from, to);
}

uint64_t store_file_doubts(const struct store_file *f)
{
	return __atomic_load_n(&f->map.doubtful, __ATOMIC_ACQUIRE);
}

bool store_file_complete(const struct store_file *f)
{
	return map_is_full(&f->map);
}

bool store_file_present(const struct store_file *f, uint64_t first, uint64_t last)
{
	return map_is_present(&f->map, first, last);
}

bool store_file_doubtful(const struct store_file *f, uint64_t chunk)
{
	return map_is_doubtful(&f->map, chunk);
}

uint64_t hash_stored(uint64_t hash)
{
	return hash ? hash : 1;
}

static int file_name(struct store_file *f)
{
	int err = name_give(f->store, f->fd, f->temporary, f->path, f->indexed ? f->link_ino : 0);

	if (err == 0)
		__atomic_store_n(&f->named, 1, __ATOMIC_RELEASE);
	return err;
}

static int record_put_locked(struct store_file *f, uint8_t flags, uint64_t hash, uint32_t epoch)
        REQUIRES(f->lock)
{
	struct record r = f->record;
	int err;

	if ((r.flags & RECORD_LOCAL) && !(flags & RECORD_LOCAL))
		return -ECANCELED;
	r.flags = flags;
	r.hash = hash;
	r.epoch = epoch;
	err = record_write(f->fd, &r);
	if (err)
		return err;
	/* only these fields: readers read the size without the lock */
	f->record.flags = r.flags;
	f->record.hash = r.hash;
	f->record.epoch = r.epoch;
	if (epoch == f->store->epoch.number)
		__atomic_store_n(&f->outdated, 0, __ATOMIC_RELAXED);
	return 0;
}

int file_record_locked(struct store_file *f, uint8_t flags, uint64_t hash)
{
	return record_put_locked(f, flags, hash, f->store->epoch.number);
}

int file_record_again_locked(struct store_file *f, uint8_t flags)
{
	bool doubts = f->outdated && __atomic_load_n(&f->map.doubtful, __ATOMIC_ACQUIRE) > 0;

	return record_put_locked(f, flags, f->record.hash,
	                         doubts ? f->record.epoch : f->store->epoch.number);
}

int file_stamp_locked(struct store_file *f)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
	                                  nanoseconds_split(f->record.mtime_ns)};

	return futimens(f->fd, times) < 0 ? -errno : 0;
}

/* For a file of several chunks, or none. If the complete flag cannot be recorded, the next open
 * retries. */
int file_finish_locked(struct store_file *f)
{
	int err = epoch_begin(&f->store->epoch);

	if (f->record.flags &
	    (RECORD_LOCAL | RECORD_LIMIT)) /* changed locally: keeps its own mtime */
		return 0;
	if (err == 0)
		err = file_stamp_locked(f);
	if (err == 0)
		err = file_record_locked(f, (f->record.flags & RECORD_KEPT) | RECORD_COMPLETE,
		                         f->record.hash);
	if (err == 0 && !f->named)
		err = file_name(f);
	return err;
}

/* Every chunk is present, so the map gets no more writes; but another user of a shared file may be
 * in one. */
void file_shut_map_locked(struct store_file *f)
{
	if (f->map_fd < 0 || store_file_shared(f))
		return;
	close(f->map_fd);
	f->map_fd = -1;
}

void file_settle(struct store_file *f, uint64_t chunk)
{
	mutex_lock(&f->lock);
	if (!map_is_present(&f->map, chunk, chunk)) {
		bool whole = ++f->settled == f->map.chunks;

		if (whole && file_finish_locked(f) < 0)
			g_message("the store could not record that %s is complete", f->path);
		map_set_present(&f->map, chunk);
		if (whole)
			file_shut_map_locked(f);
	}
	mutex_unlock(&f->lock);
}

void file_update(struct store_file *f)
{
	if (!__atomic_load_n(&f->outdated, __ATOMIC_ACQUIRE) ||
	    __atomic_load_n(&f->map.doubtful, __ATOMIC_ACQUIRE) > 0)
		return;
	mutex_lock(&f->lock);
	if (f->outdated)
		file_record_locked(f, f->record.flags, f->record.hash);
	mutex_unlock(&f->lock);
}

static int write_all(int fd, uint64_t offset, const char *p, size_t length)
{
	while (length > 0) {
		ssize_t n = pwrite(fd, p, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		offset += n;
		length -= n;
	}
	return 0;
}

/* Under `writing`. Skips local chunks. */
static int write_remote(struct store_file *f, uint64_t offset, const char *p, size_t length)
{
	unsigned shift = f->record.chunk_shift;
	int err = 0;

	if (offset >= f->limit)
		return 0;
	length = MIN(length, f->limit - offset);
	if (f->map.locals == NULL)
		return write_all(f->fd, offset, p, length);
	while (length > 0 && err == 0) {
		uint64_t chunk = offset >> shift;
		size_t n = MIN(length, ((chunk + 1) << shift) - offset);

		if (!map_is_local(&f->map, chunk))
			err = write_all(f->fd, offset, p, n);
		offset += n;
		p += n;
		length -= n;
	}
	return err;
}

int store_file_write(struct store_file *f, uint64_t offset, const void *buffer, size_t length)
{
	uint64_t end = offset + length, written;
	int err;

	if (end < offset || end > f->record.size)
		return -EINVAL;
	rwlock_rdlock(&f->writing);
	err = f->local || f->taken ? -ECANCELED : write_remote(f, offset, buffer, length);
	rwlock_unlock(&f->writing);
	if (err)
		return err;
	written = __atomic_load_n(&f->written, __ATOMIC_RELAXED);
	while (written < end && !__atomic_compare_exchange_n(&f->written, &written, end, true,
	                                                     __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	return 0;
}

int publish_single(struct store_file *f, uint64_t hash)
{
	int err = 0;

	if (f->local || f->taken)
		return -ECANCELED;
	mutex_lock(&f->lock);
	/* a source that placed the bytes itself may have left a hole at the end */
	if (__atomic_load_n(&f->written, __ATOMIC_RELAXED) < f->record.size &&
	    ftruncate(f->fd, (off_t)f->record.size) < 0)
		err = -errno;
	if (err == 0)
		err = file_stamp_locked(f);
	if (err == 0)
		err = file_record_locked(f, (f->record.flags & RECORD_KEPT) | RECORD_COMPLETE,
		                         hash);
	if (err == 0 && !f->named)
		err = file_name(f);
	mutex_unlock(&f->lock);
	if (err == 0)
		map_set_present(&f->map, 0);
	return err;
}

int file_map_locked(struct store_file *f)
{
	int fd = mapfile_open(f->store->state, &f->record);

	/* it may have told which chunks are local */
	if (fd == -ESTALE && (f->record.flags & RECORD_LIMIT))
		fd = -EUCLEAN;
	else if (fd == -ESTALE)
		fd = mapfile_create(f->store->state, &f->record);
	f->map_fd = MAX(fd, -1);
	return MIN(fd, 0);
}

/* Before the first chunk: the map, the record, the names. */
int file_establish_locked(struct store_file *f, uint8_t flags)
{
	struct store *s = f->store;
	int err = 0;

	if (f->named)
		return 0;
	if (f->map.chunks > 1 && f->record.version != 0) {
		f->map_fd = mapfile_create(s->state, &f->record);
		if (f->map_fd < 0)
			return f->map_fd;
	} else if (f->map.chunks <= 1 && ftruncate(f->fd, (off_t)f->record.size) < 0) {
		return -errno;
	}
	err = file_record_locked(f, flags, f->record.hash);
	if (err == 0)
		err = file_name(f);
	if (err && f->map_fd >= 0) {
		close(f->map_fd);
		shard_unlink(s->state, "maps", f->record.id);
		f->map_fd = -1;
	}
	return err;
}

static int file_establish(struct store_file *f)
{
	int err;

	mutex_lock(&f->lock);
	err = file_establish_locked(f, 0);
	mutex_unlock(&f->lock);
	return err;
}

/* Under `writing`. */
static int publish_one(struct store_file *f, uint64_t chunk, uint64_t hash)
{
	int err = 0;

	if (map_is_present(&f->map, chunk, chunk)) /* written locally meanwhile */
		return 0;
	if (!__atomic_load_n(&f->named, __ATOMIC_ACQUIRE))
		err = file_establish(f);
	if (err == 0)
		err = mapfile_write(f->map_fd, f->record.id, chunk, hash, MARK_REMOTE);
	if (err == 0)
		file_settle(f, chunk);
	return err;
}

int store_file_publish(struct store_file *f, uint64_t chunk, uint64_t hash)
{
	return store_file_publish_version(f, chunk, hash, 0);
}

int store_file_publish_version(struct store_file *f, uint64_t chunk, uint64_t hash,
                               uint64_t version)
{
	bool single;
	int err;

	if (chunk >= f->map.chunks)
		return -EINVAL;
	if (map_is_present(&f->map, chunk, chunk))
		return 0;
	err = epoch_begin(&f->store->epoch);
	if (err)
		return err;
	hash = hash_stored(hash);
	rwlock_rdlock(&f->writing);
	single = f->map.chunks == 1;
	if (version != 0 && store_file_version(f) != version)
		err = -ESTALE;
	else
		err = single ? publish_single(f, hash) : publish_one(f, chunk, hash);
	rwlock_unlock(&f->writing);
	if (err == 0 && !single)
		file_update(f);
	return err;
}
