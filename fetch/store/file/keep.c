/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Kept files, which take precedence over the listing, and local ones. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "fetch/base/nanoseconds.h"
#include "fetch/base/path.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/file/store_file_private.h"
#include "fetch/store/object/mapfile.h"

/* 0: the object at `path` is this file; -ESTALE: it is not; another error: unknown. */
static int file_has_name(struct store_file *f, const char *path)
{
	int dir = path[0] == '/' ? f->store->state : f->store->tree;
	int fd = path_open(dir, path + (path[0] == '/'), O_PATH | O_NOFOLLOW, 0);
	struct stat st;
	int err;

	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP ? -ESTALE : fd;
	err = fstat(fd, &st) < 0 ? -errno : st.st_ino == f->record.ino ? 0 : -ESTALE;
	close(fd);
	return err;
}

/* The record comes last: it puts all the rest into effect at once. For a new file of one name, the
 * name comes last: until then there is no file. */
static int file_keep_locked(struct store_file *f, const char *path, const struct store_kept *k)
        REQUIRES(f->lock)
{
	uint8_t flags = f->record.flags | RECORD_KEPT;
	bool named = f->named;
	int err = 0, at = 0;

	/* the file lost its name, or never had it: changes would be lost */
	if (named && !f->indexed)
		err = file_has_name(f, path);
	if (err)
		return err;
	if (k->origin && !f->indexed) /* another inode may have opened it first */
		f->link_ino = k->origin->ino;
	err = origin_write(f->store, f->record.id, f->link_ino, k->remote);
	if (err == 0)
		err = xattrs_give(f->store, f->fd, k);
	if (err == 0)
		err = owner_give(f->store, f->fd, k->origin);
	if (err == 0 && !named) {
		g_free(f->path);
		f->path = g_strdup(path);
		err = file_establish_locked(f, f->indexed ? f->record.flags : flags);
		at = err == 0 ? file_has_name(f, path) : 0;
		if (at == -ESTALE)
			err = -EEXIST;
	}
	if (err == 0 && at) /* the file is kept; only its name could not be verified */
		return at;
	if (err == 0 && k->nlink > 1)
		err = links_begin(f->fd, k->nlink);
	if (err == 0 && !(f->record.flags & RECORD_KEPT))
		err = file_record_again_locked(f, flags);
	if (err)
		origin_remove(f->store, f->record.id);
	return err;
}

int store_file_keep(struct store_file *f, const char *path, const struct store_kept *k)
{
	int err = epoch_begin(&f->store->epoch);

	mutex_lock(&f->lock);
	bool kept = f->record.flags & RECORD_KEPT;
	if (err == 0 && !kept)
		err = file_keep_locked(f, path, k);
	else if (err == 0 && k->nlink < 2) /* kept as another inode's, its name may have gone */
		err = file_has_name(f, path);
	if (err == 0 && kept)
		err = origin_again(f->store, f->record.id, f->link_ino, k->remote);
	mutex_unlock(&f->lock);
	return err;
}

/* The map first: a record that names a version has one. */
int store_file_pin(struct store_file *f, uint64_t version)
{
	uint64_t before;
	int err = epoch_begin(&f->store->epoch);

	mutex_lock(&f->lock);
	before = f->record.version;
	if (err == 0 && before == 0) {
		__atomic_store_n(&f->record.version, version, __ATOMIC_RELEASE);
		if (f->map_fd >= 0)
			err = mapfile_pin(f->map_fd, &f->record);
		else if (f->map.chunks > 1 && f->named)
			err = file_map_locked(f);
		if (err == 0 && f->named)
			err = file_record_again_locked(f, f->record.flags);
		if (err)
			__atomic_store_n(&f->record.version, before, __ATOMIC_RELEASE);
	}
	mutex_unlock(&f->lock);
	return err;
}

/* Under `writing`, written, so that no chunk becomes present meanwhile. A crash between map and
 * record costs the cached data. */
static int file_repin_locked(struct store_file *f, uint64_t from, uint64_t to,
                             const uint8_t *compared) REQUIRES(f->lock)
{
	int err;

	if (f->local || f->record.version != from || store_file_doubts(f) > 0 ||
	    f->record.flags & (RECORD_KEPT | RECORD_LOCAL | RECORD_LIMIT))
		return -ESTALE;
	for (uint64_t k = map_next(&f->map, 0); k < f->map.chunks; k = map_next(&f->map, k + 1))
		if (!(compared[k / 8] >> k % 8 & 1))
			return -EAGAIN;
	__atomic_store_n(&f->record.version, to, __ATOMIC_RELEASE);
	err = f->map_fd >= 0 ? mapfile_pin(f->map_fd, &f->record) : 0;
	if (err == 0 && f->named)
		err = file_record_again_locked(f, f->record.flags);
	if (err)
		__atomic_store_n(&f->record.version, from, __ATOMIC_RELEASE);
	return err;
}

int store_file_repin(struct store_file *f, uint64_t from, uint64_t to, const uint8_t *compared)
{
	int err = epoch_begin(&f->store->epoch);

	if (err)
		return err;
	rwlock_wrlock(&f->writing);
	mutex_lock(&f->lock);
	err = file_repin_locked(f, from, to, compared);
	mutex_unlock(&f->lock);
	rwlock_unlock(&f->writing);
	return err;
}

/* Restores the record, if the disk accepts it; otherwise the epoch ends anyway. */
static void record_disown(struct store_file *f, uint8_t flags, uint64_t hash)
{
	mutex_lock(&f->lock);
	f->record.flags = flags;
	f->record.hash = hash;
	if (record_write(f->fd, &f->record) < 0)
		g_message("%s: its record could not be restored", f->path);
	mutex_unlock(&f->lock);
}

/* Makes the record say that the file is local, durably with `durable`. On failure it is restored.
 */
static int record_own(struct store_file *f, bool durable)
{
	uint8_t flags;
	uint64_t hash;
	int err = 0;

	mutex_lock(&f->lock);
	g_assert(f->record.flags & RECORD_KEPT);
	flags = f->record.flags;
	hash = f->record.hash;
	/* no transfer changes the mtime any more; a truncation sets its own */
	if (durable)
		err = file_stamp_locked(f);
	if (err == 0)
		err = file_record_locked(f, RECORD_KEPT | RECORD_LOCAL | RECORD_COMPLETE, 0);
	mutex_unlock(&f->lock);
	if (err == 0 && !durable)
		epoch_record_changed(&f->store->epoch, f->fd);
	if (err || !durable)
		return err;
	err = epoch_sync(&f->store->epoch, f->fd, false);
	if (err == 0)
		err = epoch_trust(&f->store->epoch);
	if (err)
		record_disown(f, flags, hash);
	return err;
}

/* Makes the file local in memory, too. Running transfers write no data after this. */
static void file_own(struct store_file *f)
{
	rwlock_wrlock(&f->writing);
	f->local = true;
	map_set_full(&f->map);
	rwlock_unlock(&f->writing);
	if (f->map.chunks > 1)
		shard_unlink(f->store->state, "maps", f->record.id);
}

int file_localise(struct store_file *f, bool covered, bool durable)
{
	int err = epoch_sync(&f->store->epoch, f->fd, false);

	if (err == 0)
		err = epoch_trust(&f->store->epoch);
	if (err == 0 && !covered && !map_is_full(&f->map))
		err = -EAGAIN;
	if (err == 0)
		err = record_own(f, durable);
	if (err == 0)
		file_own(f);
	return err;
}

/* For a file of one chunk. The chunk becomes absent first, whatever its size: no record may call
 * bytes local that never reached the disk. */
static int single_cut(struct store_file *f)
{
	int err = 0;

	mutex_lock(&f->lock);
	if (f->record.hash)
		err = file_record_locked(f, f->record.flags & RECORD_KEPT, 0);
	mutex_unlock(&f->lock);
	if (err == 0 && map_is_full(&f->map) && f->map.chunks > 0) {
		__atomic_sub_fetch(&f->settled, 1, __ATOMIC_ACQ_REL);
		map_unset_present(&f->map, 0);
	}
	if (err == 0 && ftruncate(f->fd, 0) < 0)
		err = -errno;
	return err;
}

void file_uncut(struct store_file *f)
{
	if (ftruncate(f->fd, (off_t)f->record.size) < 0)
		g_message("%s: cannot truncate the part that was not written: %s", f->path,
		          g_strerror(errno));
}

/* Truncated data is local whether the record could be written or not. */
static int file_cut(struct store_file *f)
{
	bool single = f->map.chunks < 2;
	int err = file_writable(f);

	if (err)
		return err;
	rwlock_wrlock(&f->writing);
	f->taken = true;
	err = single ? single_cut(f) : file_truncate_locked(f, 0);
	rwlock_unlock(&f->writing);
	if (err == 0) {
		int failed = record_own(f, false);

		if (failed == 0)
			file_own(f);
		else if (single)
			file_uncut(f);
		err = single ? failed : 0;
	}
	rwlock_wrlock(&f->writing);
	f->taken = false;
	rwlock_unlock(&f->writing);
	return err;
}

int store_file_localise(struct store_file *f, bool durable)
{
	int err = file_change_begin(f);

	mutex_lock(&f->changing);
	if (err == 0 && !f->local)
		err = durable ? file_localise(f, false, true) : file_cut(f);
	mutex_unlock(&f->changing);
	return err;
}

/* Sets the mtimes of record and file under one lock, since completion gives the file the record's.
 * The record does not take it from the file: a chunk that was written meanwhile may have changed
 * it. */
int store_file_utimens(struct store_file *f, const struct timespec times[2])
{
	struct timespec set[2] = {times[0], times[1]};
	int err = epoch_begin(&f->store->epoch);

	if (set[1].tv_nsec == UTIME_NOW)
		clock_gettime(CLOCK_REALTIME, &set[1]);
	mutex_lock(&f->lock);
	int64_t before = f->record.mtime_ns;
	if (err == 0 && futimens(f->fd, set) < 0)
		err = -errno;
	if (err == 0 && set[1].tv_nsec != UTIME_OMIT) {
		f->record.mtime_ns = nanoseconds(set[1]);
		err = file_record_again_locked(f, f->record.flags);
		if (err)
			f->record.mtime_ns = before;
	}
	mutex_unlock(&f->lock);
	return err;
}

bool store_file_kept(struct store_file *f)
{
	bool kept;

	mutex_lock(&f->lock);
	kept = f->record.flags & RECORD_KEPT;
	mutex_unlock(&f->lock);
	return kept;
}
