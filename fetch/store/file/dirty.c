/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* From dirty to local: locally written chunks are marked local once their bytes are on the disk.
 * state/dirty names the files with dirty chunks, so that none is forgotten when the daemon ends. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include "fetch/store/file/dirty.h"
#include "fetch/base/path.h"
#include "fetch/store/disk/entries.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/file/store_file_private.h"
#include "fetch/store/object/mapfile.h"

/* Dirty files whose descriptor stays open, fewer if the process may have few; beyond that a flush
 * syncs the whole file system. */
#define DESCRIPTORS_MAX 64
#define DESCRIPTORS_PART 8

struct flushing {
	uint64_t id;
	int fd;         /* of the file, borrowed; -1: none */
	bool mapped;    /* false: the file has no map any more */
	GArray *chunks; /* of uint64_t: dirty when the flush began */
};

static void dirty_remember(struct dirty *d, uint64_t id, int fd)
{
	uint64_t *key = g_memdup2(&id, sizeof id);

	g_hash_table_insert(d->files, key, GINT_TO_POINTER(fd + 1));
}

static int dirty_found(int fd, struct dirent *e, void *user)
{
	uint64_t id = g_ascii_strtoull(e->d_name, NULL, 16);

	if (id)
		dirty_remember(user, id, -1);
	return 0;
}

void dirty_init(struct store *s)
{
	struct dirty *d = &s->dirty;

	d->most = MIN(s->fd_most / DESCRIPTORS_PART, DESCRIPTORS_MAX);
	mutex_init(&d->lock, RANK_DIRTY);
	mutex_init(&d->flushing, RANK_DIRTY_FLUSHING);
	d->files = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
}

int dirty_open(struct store *s)
{
	struct dirty *d = &s->dirty;
	char path[16];
	int err = 0;

	if (faccessat(s->state, "dirty", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	for (unsigned shard = 0; shard < 256 && err == 0; shard++) {
		snprintf(path, sizeof path, "dirty/%02x", shard);
		err = entries_foreach(
		        path_open(s->state, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0),
		        dirty_found, d);
		if (err == -ENOENT)
			err = 0;
	}
	return err;
}

void dirty_close(struct store *s)
{
	GHashTableIter iter;
	gpointer fd;

	g_hash_table_iter_init(&iter, s->dirty.files);
	while (g_hash_table_iter_next(&iter, NULL, &fd))
		if (fd)
			close(GPOINTER_TO_INT(fd) - 1);
	g_hash_table_unref(s->dirty.files);
	mutex_destroy(&s->dirty.lock);
	mutex_destroy(&s->dirty.flushing);
}

/* Opens a new descriptor, not a duplicate: the kernel reports a write-back error once to each. */
static int dirty_enter_locked(struct store_file *f) REQUIRES(f->store->dirty.lock)
{
	struct store *s = f->store;
	char proc[32];
	int fd;

	if (g_hash_table_contains(s->dirty.files, &f->record.id))
		return 0;
	fd = shard_open(s->state, "dirty", f->record.id, O_WRONLY | O_CREAT);
	if (fd < 0)
		return fd;
	close(fd);
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", f->fd);
	fd = g_hash_table_size(s->dirty.files) < s->dirty.most ? open(proc, O_RDONLY | O_CLOEXEC)
	                                                       : -1;
	dirty_remember(&s->dirty, f->record.id, MAX(fd, -1));
	return 0;
}

int dirty_enter(struct store_file *f)
{
	int err;

	mutex_lock(&f->store->dirty.lock);
	err = dirty_enter_locked(f);
	mutex_unlock(&f->store->dirty.lock);
	return err;
}

int dirty_mark(struct store_file *f, uint64_t chunk, bool keep)
{
	uint32_t epoch = f->store->epoch.number;
	int err;

	mutex_lock(&f->store->dirty.lock);
	err = dirty_enter_locked(f);
	if (err == 0)
		err = keep ? mapfile_mark(f->map_fd, f->record.id, chunk, epoch)
		           : mapfile_write(f->map_fd, f->record.id, chunk, 0, epoch);
	mutex_unlock(&f->store->dirty.lock);
	return err;
}

/* Marks `chunks` local: their bytes are on the disk, unless a sync failed since the writes. */
static int mark_local(struct store *s, int map_fd, uint64_t id, const GArray *chunks)
{
	int failed = epoch_trust(&s->epoch);

	if (failed)
		return failed;
	for (guint n = 0; n < chunks->len; n++) {
		int err = mapfile_mark(map_fd, id, g_array_index(chunks, uint64_t, n), MARK_LOCAL);

		if (err)
			return err;
	}
	return chunks->len > 0 ? epoch_sync(&s->epoch, map_fd, false) : 0;
}

/* -ENOENT: the file has no map any more. Only one map at a time is open. */
static int dirty_chunks(struct store *s, uint64_t id, GArray *chunks)
{
	int map_fd = shard_open(s->state, "maps", id, O_RDWR), err;

	if (map_fd < 0)
		return map_fd;
	err = mapfile_find(map_fd, id, s->epoch.number, chunks);
	close(map_fd);
	return err;
}

static int flush_begin(struct store *s, uint64_t id, int fd, GArray *all)
{
	struct flushing f = {.id = id, .fd = fd, .chunks = g_array_new(FALSE, FALSE, 8)};
	int err;

	err = dirty_chunks(s, id, f.chunks);
	f.mapped = err == 0;
	g_array_append_val(all, f);
	return err == -ENOENT ? 0 : err;
}

/* Removes the file's entry, unless a chunk became dirty since the flush began. */
static void flush_forget(struct store *s, struct flushing *f)
{
	g_autoptr(GArray) chunks = g_array_new(FALSE, FALSE, sizeof(uint64_t));

	mutex_lock(&s->dirty.lock);
	if (!f->mapped || dirty_chunks(s, f->id, chunks) == 0) {
		if (chunks->len == 0 && shard_unlink(s->state, "dirty", f->id) == 0) {
			g_hash_table_remove(s->dirty.files, &f->id);
			if (f->fd >= 0)
				close(f->fd);
		}
	}
	mutex_unlock(&s->dirty.lock);
}

static int flush_data(struct store *s, const GArray *all, bool whole)
{
	for (guint n = 0; n < all->len && !whole; n++) {
		const struct flushing *f = &g_array_index(all, struct flushing, n);

		whole = f->fd < 0 && f->chunks->len > 0;
	}
	if (whole)
		return epoch_syncfs(&s->epoch, s->dir);
	for (guint n = 0; n < all->len; n++) {
		const struct flushing *f = &g_array_index(all, struct flushing, n);
		int err = f->chunks->len > 0 ? epoch_sync(&s->epoch, f->fd, false) : 0;

		if (err)
			return err;
	}
	return 0;
}

static GArray *flush_list(struct store *s, int *err)
{
	GArray *all = g_array_new(FALSE, FALSE, sizeof(struct flushing));
	GHashTableIter iter;
	gpointer id, fd;

	mutex_lock(&s->dirty.lock);
	g_hash_table_iter_init(&iter, s->dirty.files);
	while (*err == 0 && g_hash_table_iter_next(&iter, &id, &fd))
		*err = flush_begin(s, *(uint64_t *)id, GPOINTER_TO_INT(fd) - 1, all);
	mutex_unlock(&s->dirty.lock);
	return all;
}

/* A descriptor of its own: an error of the map's write-back is reported here. */
static int flush_mark(struct store *s, const struct flushing *f)
{
	int map_fd = shard_open(s->state, "maps", f->id, O_RDWR), err;

	if (map_fd == -ENOENT) /* the file became local meanwhile, or was removed */
		return 0;
	if (map_fd < 0)
		return map_fd;
	err = mark_local(s, map_fd, f->id, f->chunks);
	close(map_fd);
	return err;
}

static int flush(struct store *s, bool whole)
{
	int err;

	mutex_lock(&s->dirty.flushing);
	err = epoch_trust(&s->epoch);
	g_autoptr(GArray) all = flush_list(s, &err);

	if (err == 0)
		err = flush_data(s, all, whole);
	for (guint n = 0; n < all->len; n++) {
		struct flushing *f = &g_array_index(all, struct flushing, n);

		if (err == 0 && f->chunks->len > 0)
			err = flush_mark(s, f);
		if (err == 0)
			flush_forget(s, f);
		g_array_unref(f->chunks);
	}
	mutex_unlock(&s->dirty.flushing);
	return err;
}

int store_flush(struct store *s)
{
	return flush(s, false);
}

int store_sync(struct store *s)
{
	return flush(s, true);
}

int store_file_sync(struct store_file *f, bool datasync)
{
	struct store *s = f->store;
	g_autoptr(GArray) chunks = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	bool mixed = store_file_changed(f) && !store_file_local(f);
	/* a descriptor of its own: an error of the map's write-back is reported here */
	int map_fd = mixed ? shard_open(s->state, "maps", f->record.id, O_RDWR) : -ENOENT, err;

	if (map_fd == -ENOENT) { /* no map any more: the file is local */
		err = epoch_sync(&s->epoch, f->fd, datasync);
		return err ? err : epoch_trust(&s->epoch);
	}
	if (map_fd < 0)
		return map_fd;
	err = mapfile_find(map_fd, f->record.id, s->epoch.number, chunks);
	if (err == 0)
		err = epoch_sync(&f->store->epoch, f->fd, false);
	if (err == 0)
		err = mark_local(s, map_fd, f->record.id, chunks);
	close(map_fd);
	return err;
}
