/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A local file, from its first byte to its last descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "fetch/base/path.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/file/store_file_private.h"

static struct store_file *file_new(struct store *s, const char *path, uint64_t ino)
{
	struct store_file *f = g_new0(struct store_file, 1);

	f->store = s;
	f->fd = f->map_fd = -1;
	f->path = g_strdup(path);
	f->link_ino = ino;
	mutex_init(&f->changing, RANK_FILE_CHANGING);
	mutex_init(&f->lock, RANK_FILE);
	rwlock_init(&f->writing, RANK_FILE_WRITING);
	return f;
}

void store_file_close(struct store_file *f)
{
	char name[24];

	if (!shared_leave(f))
		return;
	if (f->fd >= 0)
		epoch_close_file(&f->store->epoch, f->fd);
	if (f->map_fd >= 0)
		epoch_close_file(&f->store->epoch, f->map_fd);
	if (f->temporary) {
		snprintf(name, sizeof name, "%016" PRIx64, f->temporary);
		unlinkat(f->store->tmp, name, 0);
	}
	map_clear(&f->map);
	mutex_destroy(&f->changing);
	mutex_destroy(&f->lock);
	rwlock_destroy(&f->writing);
	g_free(f->path);
	g_free(f);
}

/* Replaces the read-only descriptor by a writable one. A complete file needs none: it can be opened
 * while it is executed from the tree. */
static int file_reopen(struct store_file *f, const struct found *found)
{
	struct stat st;
	int fd = path_open(found->dir, found->path, O_RDWR | O_NONBLOCK | O_NOCTTY, 0);

	/* executed from the tree: its chunks can be verified, but none can be written */
	if (fd == -ETXTBSY)
		return 0;
	if (fd < 0)
		return fd == -ENOENT ? -ESTALE : fd;
	int err = fstat(fd, &st) < 0 ? -errno : 0;
	if (err || st.st_ino != found->st.st_ino || st.st_dev != found->st.st_dev) {
		close(fd);
		return err ? err : -ESTALE;
	}
	close(f->fd);
	f->fd = fd;
	bool longer = (uint64_t)st.st_size > f->record.size && record_is_blank(&f->record);
	if (longer ||
	    ((uint64_t)st.st_size < f->record.size && !(f->record.flags & RECORD_LIMIT))) {
		err = epoch_begin(&f->store->epoch);
		if (err == 0 && ftruncate(fd, (off_t)f->record.size) < 0)
			err = -errno;
		return err;
	}
	return 0;
}

/* The daemon's own reads, as for verification, leave atime alone. The kernel refuses this unless
 * the daemon owns the file. */
static void file_spare_atime(struct store_file *f)
{
	fcntl(f->fd, F_SETFL, fcntl(f->fd, F_GETFL) | O_NOATIME);
}

static int file_take(struct store_file *f, struct found *found)
{
	int err = found_again(f->store,
	                      found); /* another user may have changed the file until closing it */
	bool dead, whole;

	if (err)
		return err;
	dead = record_is_dead(f->store, &found->record);
	whole = !dead && (found->record.flags & RECORD_COMPLETE);
	f->fd = found->fd;
	found->fd = -1;
	f->record = found->record;
	if (dead)
		f->record.flags &= ~RECORD_COMPLETE;
	if (!whole)
		err = file_reopen(f, found);
	file_spare_atime(f);
	if (err == 0)
		err = file_load(f, found);
	if (err == 0 && !whole && map_is_full(&f->map)) { /* only the flag is missing on disk */
		mutex_lock(&f->lock);
		file_finish_locked(f);
		file_shut_map_locked(f);
		mutex_unlock(&f->lock);
	}
	return err;
}

/* The kernel assigns the lowest free descriptor, so a high number means that few are left. */
static int file_check_descriptors(const struct store_file *f)
{
	return MAX(f->fd, f->map_fd) < f->store->fd_most ? 0 : -EMFILE;
}

/* If another user has the file open, its object replaces *f, which is closed. */
static int file_enter(struct store_file **f, struct found *found)
{
	struct store_file *other = shared_enter(*f, found->st.st_ino);
	int err;

	if (other != *f) {
		store_file_close(*f);
		*f = other;
		return 0;
	}
	err = file_take(*f, found);
	if (err == 0)
		err = file_check_descriptors(*f);
	if (err == 0)
		shared_give_back(*f);
	return err;
}

int store_file_open(struct store *s, const char *path, uint64_t ino, struct store_file **out)
{
	struct store_file *f;
	struct found found;
	int err = find_file(s, path, ino, &found);

	if (err == -ENOENT) {
		found_clear(&found);
		return err;
	}
	f = file_new(s, path, ino);
	if (err == 0)
		err = file_enter(&f, &found);
	if (err == -ESTALE && found.path)
		name_set_aside(s, found.dir, found.path);
	/* a kept file counts its names: tree_materialise() adds them */
	if (err == 0 && found.by_link && !(f->record.flags & RECORD_KEPT) &&
	    epoch_begin(&s->epoch) == 0)
		name_add(s, ino, path); /* on failure the next open finds it by its number again */
	found_clear(&found);
	if (err)
		store_file_close(f);
	else
		*out = f;
	return err;
}

static int make_temporary(struct store_file *f, mode_t mode)
{
	struct store *s = f->store;
	char name[24];
	int fd = -1;

	if (!__atomic_load_n(&s->no_tmpfile, __ATOMIC_RELAXED)) {
		fd = openat(s->tmp, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
		if (fd >= 0)
			return fd;
		if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT)
			return -errno;
		__atomic_store_n(&s->no_tmpfile, 1, __ATOMIC_RELAXED);
	}
	f->temporary = store_number(s);
	snprintf(name, sizeof name, "%016" PRIx64, f->temporary);
	fd = openat(s->tmp, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, mode);
	return fd < 0 ? -errno : fd;
}

/* Sets owner and mode as far as privileges allow, but never set-id bits: a cached file is reported
 * with the listing's mode, and owner_give() records the mode of a kept one. */
static int file_set_owner(int fd, const struct store_origin *o, bool privileged, struct stat *st)
{
	mode_t mode = (o->mode & 01777) | (privileged ? 0 : 0600);

	if (fstat(fd, st) < 0)
		return -errno;
	if (privileged && (st->st_uid != o->uid || st->st_gid != o->gid)) {
		if (fchown(fd, o->uid, o->gid) == 0) {
			st->st_uid = o->uid;
			st->st_gid = o->gid;
		} else if (errno != EPERM && errno != EINVAL) {
			return -errno;
		}
	}
	if ((st->st_mode & 07777) != mode && fchmod(fd, mode) < 0 && errno != EPERM)
		return -errno;
	return 0;
}

static int file_make(struct store_file *f, const struct store_origin *o)
{
	struct store *s = f->store;
	struct stat st;
	int err;

	f->indexed = o->nlink > 1;
	f->record = (struct record){
	        .chunk_shift = s->chunk_shift,
	        .epoch = s->epoch.number,
	        .id = store_number(s),
	        .size = o->size,
	        .mtime_ns = o->mtime_ns,
	        .version = o->version,
	};
	if (o->size > INT64_MAX || record_chunks(&f->record) > CHUNKS_MAX)
		return -EFBIG;
	err = epoch_here(&s->epoch);
	if (err == 0)
		err = map_init(&f->map, record_chunks(&f->record));
	if (err)
		return err;
	f->fd = make_temporary(f, 0600);
	if (f->fd < 0)
		return f->fd;
	file_spare_atime(f);
	err = file_set_owner(f->fd, o, s->privileged, &st);
	if (err)
		return err;
	f->record.ino = st.st_ino;
	shared_add(f, st.st_ino);
	f->limit = o->size;
	if (f->map.chunks > 1 && ftruncate(f->fd, (off_t)o->size) < 0)
		return -errno;
	if (f->map.chunks == 0) {
		err = epoch_begin(&s->epoch);
		mutex_lock(&f->lock);
		if (err == 0)
			err = file_finish_locked(f);
		mutex_unlock(&f->lock);
	}
	return err;
}

bool store_path_is_pack(const char *path)
{
	const char *const folder = "/packs/";

	return g_str_has_prefix(path, folder) && path_valid(path + strlen(folder)) &&
	       strchr(path + strlen(folder), '/') == NULL;
}

int store_file_create(struct store *s, const char *path, const struct store_origin *origin,
                      struct store_file **out)
{
	struct store_file *f;
	int err = store_file_open(s, path, origin->ino, out);

	if (err != -ENOENT && err != -ESTALE)
		return err;
	if (!(path_valid(path) || store_path_is_pack(path)) || path[0] == '\0')
		return -EINVAL;
	f = file_new(s, path, origin->ino);
	err = file_make(f, origin);
	if (err == 0)
		err = file_check_descriptors(f);
	if (err)
		store_file_close(f);
	else
		*out = f;
	return err;
}

int store_file_discard(struct store *s, const char *path, struct store_file *f)
{
	char link[SHARD_PATH_MAX];
	struct stat st;
	int err = 0;

	if (f->map.present > 0)
		err = -EBUSY;
	if (err == 0 && f->named)
		err = epoch_begin(&s->epoch);
	if (err == 0 && f->named) {
		bool in_state = path[0] == '/';

		err = name_remove(s, in_state ? s->state : s->tree, path + in_state, f->record.ino);
		shard_path("links", f->link_ino, link);
		if (err == 0 && __atomic_load_n(&s->links, __ATOMIC_ACQUIRE))
			err = name_remove(s, s->state, link, f->record.ino);
		/* a file with another name keeps its map */
		if (err == 0 && f->map.chunks > 1 && fstat(f->fd, &st) == 0 && st.st_nlink == 0)
			shard_unlink(s->state, "maps", f->record.id);
	}
	store_file_close(f);
	return err;
}

int store_file_fd(const struct store_file *f)
{
	return f->fd;
}

uint64_t store_file_size(const struct store_file *f)
{
	return f->record.size;
}

uint64_t store_file_version(const struct store_file *f)
{
	/* store_file_pin() may be setting it (keep.c) */
	return __atomic_load_n(&f->record.version, __ATOMIC_ACQUIRE);
}

unsigned store_file_chunk_shift(const struct store_file *f)
{
	return f->record.chunk_shift;
}

bool store_file_lasts(const struct store_file *f)
{
	struct stat st;

	return fstat(f->fd, &st) == 0 && st.st_nlink > 0;
}
