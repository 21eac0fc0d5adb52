/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Eviction: drops cached data, which can be fetched again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "fetch/store/disk/space.h"
#include "fetch/store/file/store_file_private.h"
#include "fetch/store/object/mapfile.h"

int file_writable(struct store_file *f)
{
	char proc[32];
	int fd;

	if ((fcntl(f->fd, F_GETFL) & O_ACCMODE) == O_RDWR)
		return 0;
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", f->fd);
	fd = open(proc, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dup3(fd, f->fd, O_CLOEXEC);
	close(fd);
	return 0;
}

/* Marks the chunk absent on disk, then in memory, then drops its bytes. */
static int evict_chunk(struct store_file *f, uint64_t chunk) REQUIRES(f->lock)
{
	bool present = map_is_present(&f->map, chunk, chunk);
	uint64_t offset = chunk << f->record.chunk_shift;
	uint64_t length = UINT64_C(1) << f->record.chunk_shift; /* including the last block */
	int err;

	if (map_is_local(&f->map, chunk) || (!present && !map_is_doubtful(&f->map, chunk)))
		return 0;
	err = f->map.chunks > 1 ? mapfile_write(f->map_fd, f->record.id, chunk, 0, MARK_REMOTE)
	                        : file_record_locked(f, f->record.flags & RECORD_KEPT, 0);
	if (err)
		return err;
	if (present) {
		__atomic_sub_fetch(&f->settled, 1, __ATOMIC_ACQ_REL);
		map_unset_present(&f->map, chunk);
	} else {
		map_set_absent(&f->map, chunk);
	}
	if (offset >= f->limit)
		return 0;
	if (f->record.flags & RECORD_LIMIT)
		length = MIN(length, f->limit - offset);
	if (fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
	              (off_t)length) < 0)
		return -errno;
	return 0;
}

static int evict_begin_locked(struct store_file *f) REQUIRES(f->lock)
{
	int err = file_writable(f);

	if (err == 0 && f->map.chunks > 1 && f->map_fd < 0)
		err = file_map_locked(f);
	if (err == 0 && map_is_full(&f->map) && !(f->record.flags & RECORD_LIMIT))
		err = map_spread(&f->map);
	if (err == 0 && (f->record.flags & RECORD_COMPLETE) && f->map.chunks > 1)
		err = file_record_again_locked(f, f->record.flags & ~RECORD_COMPLETE);
	return err;
}

/* Does the kernel have the file open for passthrough (store_open_readonly())? A locally changed
 * file may have more descriptors of the daemon, but none for the kernel. */
static bool is_held(struct store_file *f)
{
	if (store_file_changed(f))
		return false;
	if (fcntl(f->fd, F_SETLEASE, F_WRLCK) < 0)
		return errno == EAGAIN; /* other errors: the file system has no leases */
	fcntl(f->fd, F_SETLEASE, F_UNLCK);
	return false;
}

static int file_evict(struct store_file *f, uint64_t *freed)
{
	struct stat before, after;
	int err = epoch_begin(&f->store->epoch);

	if (err)
		return err;
	mutex_lock(&f->changing);
	rwlock_wrlock(&f->writing);
	mutex_lock(&f->lock);
	if (!f->local && f->named && f->map.chunks > 0) {
		err = fstat(f->fd, &before) < 0 ? -errno : evict_begin_locked(f);
		for (uint64_t k = map_next(&f->map, 0); k < f->map.chunks && err == 0;
		     k = map_next(&f->map, k + 1))
			err = evict_chunk(f, k);
		if (err == 0 && fstat(f->fd, &after) == 0)
			*freed = (uint64_t)MAX(before.st_blocks - after.st_blocks, 0) * 512;
		store_space_give(f->store, *freed);
	}
	mutex_unlock(&f->lock);
	rwlock_unlock(&f->writing);
	mutex_unlock(&f->changing);
	return err;
}

int store_file_evict(struct store_file *f, uint64_t *freed)
{
	int err;

	if (!shared_take(f))
		return -EBUSY;
	err = is_held(f) ? -EBUSY : file_evict(f, freed);
	shared_give_back(f);
	return err;
}
