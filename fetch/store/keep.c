/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Files that count whatever the listing says of their names. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "fetch/path.h"
#include "fetch/store/mapfile.h"
#include "fetch/store/shard.h"
#include "fetch/store/tree_private.h"

/* Is the file what lies at its path? */
static bool file_has_name(struct store_file *f)
{
	int dir = f->path[0] == '/' ? f->store->state : f->store->tree;
	int fd = path_open(dir, f->path + (f->path[0] == '/'), O_PATH | O_NOFOLLOW, 0);
	struct stat st;
	bool same = fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == f->record.ino;

	if (fd >= 0)
		close(fd);
	return same;
}

/* The record is last: it makes all the rest count at once. Of a file of one name the name is:
 * until then nothing is there. */
static int file_keep_locked(struct store_file *f, const char *path, const struct store_kept *k)
{
	uint8_t flags = f->record.flags | RECORD_KEPT;
	bool named = f->named;
	int err = origin_write(f->store, f->record.id, f->link_ino, k->remote);

	if (err == 0)
		err = xattrs_give(f->store, f->fd, k);
	if (err == 0)
		err = owner_give(f->store, f->fd, k->origin);
	if (err == 0 && !named) {
		g_free(f->path);
		f->path = g_strdup(path);
		err = file_establish_locked(f, f->indexed ? f->record.flags : flags);
		if (err == 0 && !file_has_name(f))
			err = -EEXIST;
	}
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

	pthread_mutex_lock(&f->lock);
	if (err == 0 && !(f->record.flags & RECORD_KEPT))
		err = file_keep_locked(f, path, k);
	pthread_mutex_unlock(&f->lock);
	return err;
}

/* The map first: a record that names a version has one. */
int store_file_pin(struct store_file *f, uint64_t version)
{
	uint64_t before;
	int err = epoch_begin(&f->store->epoch);

	pthread_mutex_lock(&f->lock);
	before = f->record.version;
	if (err == 0 && before == 0) {
		f->record.version = version;
		if (f->map_fd >= 0)
			err = mapfile_pin(f->map_fd, &f->record);
		else if (f->map.chunks > 1 && f->named)
			err = file_map_locked(f);
		if (err == 0 && f->named)
			err = file_record_again_locked(f, f->record.flags);
		if (err)
			f->record.version = before;
	}
	pthread_mutex_unlock(&f->lock);
	return err;
}

/* Nothing is left of what lacks bytes before it says that it has all of them: until then a crash
 * leaves it as it was, or cut. */
static int file_cut(struct store_file *f, bool *mixed)
{
	if (f->local || map_is_full(&f->map))
		return 0;
	*mixed = f->map.chunks > 1;
	if (*mixed)
		return file_truncate_locked(f, 0);
	return ftruncate(f->fd, 0) < 0 ? -errno : 0;
}

int store_file_localise(struct store_file *f, bool durable)
{
	struct store *s = f->store;
	int err = epoch_begin(&s->epoch);
	bool mixed = false;

	/* What a transfer still brings must not come after what is written here. */
	pthread_rwlock_wrlock(&f->writing);
	if (err == 0 && durable && fsync(f->fd) < 0)
		err = -errno;
	if (err == 0 && !durable)
		err = file_cut(f, &mixed);
	bool cut = err == 0 && mixed;
	pthread_mutex_lock(&f->lock);
	if (err == 0 && durable && !f->local && !map_is_full(&f->map))
		err = -EAGAIN;
	if (err == 0 && !(f->record.flags & RECORD_LOCAL)) {
		g_assert(f->record.flags & RECORD_KEPT);
		/* no fill moves it any more; a cut is a change of its own */
		if (durable)
			err = file_stamp_locked(f);
		if (err == 0)
			err = file_record_locked(f, RECORD_KEPT | RECORD_LOCAL | RECORD_COMPLETE,
			                         0);
		if (err == 0 && durable && fsync(f->fd) < 0)
			err = -errno;
		if (err == 0 && f->map.chunks > 1)
			shard_unlink(s->state, "maps", f->record.id);
		if (err == 0)
			map_set_full(&f->map);
		f->local |= err == 0;
	}
	if (cut)
		err = 0;
	pthread_mutex_unlock(&f->lock);
	pthread_rwlock_unlock(&f->writing);
	return err;
}

/* The record's and the file's own at once: whatever makes the file whole sets its time to the
 * record's. Read back, it may be that of a chunk that came meanwhile. */
int store_file_utimens(struct store_file *f, const struct timespec times[2])
{
	struct timespec set[2] = {times[0], times[1]};
	int err = epoch_begin(&f->store->epoch);

	if (set[1].tv_nsec == UTIME_NOW)
		clock_gettime(CLOCK_REALTIME, &set[1]);
	pthread_mutex_lock(&f->lock);
	int64_t before = f->record.mtime_ns;
	if (err == 0 && futimens(f->fd, set) < 0)
		err = -errno;
	if (err == 0 && set[1].tv_nsec != UTIME_OMIT) {
		f->record.mtime_ns = set[1].tv_sec * INT64_C(1000000000) + set[1].tv_nsec;
		err = file_record_again_locked(f, f->record.flags);
		if (err)
			f->record.mtime_ns = before;
	}
	pthread_mutex_unlock(&f->lock);
	return err;
}

bool store_file_kept(struct store_file *f)
{
	bool kept;

	pthread_mutex_lock(&f->lock);
	kept = f->record.flags & RECORD_KEPT;
	pthread_mutex_unlock(&f->lock);
	return kept;
}
