/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/store/identity.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fetch/base/path.h"
#include "fetch/store/disk/entries.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/disk/stamp.h"
#include "fetch/store/file/unsynced.h"
#include "fetch/store/object/mapfile.h"
#include "fetch/store/object/object_private.h"

struct known {
	ino_t ino;
	char path[]; /* in STORE */
};

struct identity_walk {
	struct store *store;
	bool bind;                /* else only look */
	GString *path;            /* in STORE */
	GPtrArray *pending;       /* the same of directories; a tree may be deeper than a process
	                           * has descriptors */
	GHashTable *seen;         /* uint64 id → struct known: files with a record */
	uint64_t here, elsewhere; /* by the inode number that their records say */
	uint64_t bound, linked, loose;
	struct unsynced unsynced;
};

static int place_now(struct store *s, struct place_disk *out)
{
	uint64_t lock, tree;
	int err = origin_key(s->state, "lock", &lock);

	if (err == 0)
		err = origin_key(s->dir, "tree", &tree);
	if (err)
		return err;
	*out = (struct place_disk){
	        .format = GUINT32_TO_LE(PLACE_FORMAT),
	        .lock = GUINT64_TO_LE(lock),
	        .tree = GUINT64_TO_LE(tree),
	};
	return 0;
}

static bool place_read(struct store *s, struct place_disk *out)
{
	return fgetxattr(s->lock, PLACE_XATTR, out, sizeof *out) == sizeof *out;
}

static void walk_loose(struct identity_walk *w, const char *why)
{
	w->loose++;
	g_warning("store %s: %s %s, and will be set aside on first use", w->store->path,
	          w->path->str, why);
}

/* Binds a map that repeats the record, except for the inode number: that becomes the copy's. 1: it
 * does not repeat it. */
static int map_bind(struct store *s, const struct record *r, ino_t ino)
{
	char header[sizeof(struct map_header)];
	struct record old = *r;
	int fd = shard_open(s->state, "maps", r->id, O_RDWR), err = 1;
	ssize_t n;

	if (fd < 0)
		return fd == -ENOENT || fd == -ELOOP || fd == -EISDIR ? r->version != 0 : fd;
	n = pread(fd, header, sizeof header, 0);
	if (n < 0)
		err = -errno;
	if (n == sizeof header) {
		const struct map_header *h = (const void *)header;

		old.ino = GUINT64_FROM_LE(h->ino);
		old.version = GUINT64_FROM_LE(h->version);
		if ((old.version == r->version || old.version == 0 || r->version == 0) &&
		    mapfile_check(header, sizeof header, &old)) {
			old.ino = ino;
			err = mapfile_pin(fd, &old);
		}
	}
	close(fd);
	return err;
}

static int file_bind(struct identity_walk *w, const struct place *p, struct record *r, ino_t ino)
{
	struct record_disk d;
	int err = 0;

	if (record_chunks(r) > 1 && !(r->flags & RECORD_LOCAL))
		err = map_bind(w->store, r, ino);
	if (err > 0) {
		walk_loose(w, "has lost its map");
		return 0;
	}
	r->ino = ino;
	if (err == 0 &&
	    lsetxattr(p->proc, RECORD_XATTR, &d, record_encode(r, &d), XATTR_REPLACE) < 0)
		err = -errno;
	w->bound += err == 0;
	return err;
}

/* The next data from `at` on; without any, the end of the file. */
static off_t next_data(int fd, off_t at, off_t size)
{
	off_t data = lseek(fd, at, SEEK_DATA);

	return data >= 0 ? data : errno == ENXIO ? size : at;
}

#define PIECE_BYTES 65536

/* 1: the files are equal byte for byte. */
static int same_bytes(int a, int b)
{
	g_autofree char *one = g_malloc(PIECE_BYTES), *two = g_malloc(PIECE_BYTES);
	struct stat st, other;

	if (fstat(a, &st) < 0 || fstat(b, &other) < 0)
		return -errno;
	if (st.st_size != other.st_size)
		return 0;
	for (off_t at = 0; at < st.st_size;) {
		ssize_t n, m;

		at = MIN(next_data(a, at, st.st_size), next_data(b, at, st.st_size));
		n = pread(a, one, PIECE_BYTES, at);
		m = pread(b, two, PIECE_BYTES, at);
		if (n < 0 || m < 0)
			return -errno;
		if (n != m || memcmp(one, two, (size_t)n) != 0)
			return 0;
		if (n == 0)
			break;
		at += n;
	}
	return 1;
}

/* A hard link of the same file became a file of its own: makes it a link again. */
static int file_link(struct identity_walk *w, const struct place *p, const struct known *first)
{
	struct store *s = w->store;
	int a = path_open(s->dir, first->path, O_RDONLY | O_NOFOLLOW, 0);
	int b = openat(p->dir, p->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	int err = a < 0 ? a : b < 0 ? -errno : same_bytes(a, b);
	struct stamp stamp;
	char name[24];

	if (a >= 0)
		close(a);
	if (b >= 0)
		close(b);
	if (err == 0)
		walk_loose(w, "was a hard link, and differs by now");
	if (err <= 0)
		return err;
	snprintf(name, sizeof name, "%016" PRIx64, store_number(s));
	if (linkat(s->dir, first->path, s->tmp, name, 0) < 0)
		return -errno;
	err = 0;
	stamp_begin(s, p->dir, &stamp);
	if (renameat(s->tmp, name, p->dir, p->name) < 0) {
		err = -errno;
		unlinkat(s->tmp, name, 0);
	}
	stamp_end(s, &stamp);
	w->linked += err == 0;
	return err;
}

static int file_unsynced(struct identity_walk *w, const struct place *p, struct record *r,
                         ino_t ino)
{
	int fd, err;

	if (w->unsynced.epoch == 0 || record_chunks(r) < 2 || (r->flags & RECORD_LOCAL))
		return 0;
	fd = openat(p->dir, p->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	r->ino = ino;
	err = unsynced_keep(w->store, fd, r, &w->unsynced);
	close(fd);
	return err;
}

static int walk_file(struct identity_walk *w, const struct place *p, const struct stat *st)
{
	char data[sizeof(struct record_disk) + 1];
	const struct known *known;
	struct record r;
	ssize_t n = place_getxattr(p, RECORD_XATTR, data, sizeof data);

	if (n < 0)
		return errno == ENODATA || errno == EOPNOTSUPP || errno == ERANGE ? 0 : -errno;
	if (record_decode(data, (size_t)n, &r) != 0)
		return 0;
	if (r.ino == st->st_ino)
		w->here++;
	else
		w->elsewhere++;
	if (!w->bind)
		return 0;
	known = g_hash_table_lookup(w->seen, &r.id);
	if (known)
		return known->ino == st->st_ino ? 0 : file_link(w, p, known);
	struct known *k = g_malloc(sizeof *k + w->path->len + 1);
	k->ino = st->st_ino;
	memcpy(k->path, w->path->str, w->path->len + 1);
	g_hash_table_insert(w->seen, g_memdup2(&r.id, sizeof r.id), k);
	int err = r.ino == st->st_ino ? 0 : file_bind(w, p, &r, st->st_ino);
	return err ? err : file_unsynced(w, p, &r, st->st_ino);
}

static int walk_entry(int fd, struct dirent *e, void *user)
{
	struct identity_walk *w = user;
	gsize length = w->path->len;
	struct place p;
	struct stat st;
	int err = 0;

	if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	place_at(fd, e->d_name, &p);
	g_string_append_printf(w->path, "/%s", e->d_name);
	if (S_ISDIR(st.st_mode))
		g_ptr_array_add(w->pending, g_strdup(w->path->str));
	else if (S_ISREG(st.st_mode))
		err = owner_mend(w->store, &p, &st);
	if (err == 0 && S_ISREG(st.st_mode))
		err = walk_file(w, &p, &st);
	if (err == 0)
		g_string_truncate(w->path, length);
	return err;
}

static int walk_top(struct identity_walk *w, const char *top)
{
	int err = 0;

	g_ptr_array_add(w->pending, g_strdup(top));
	while (err == 0 && w->pending->len > 0) {
		g_autofree char *path = g_ptr_array_steal_index(w->pending, w->pending->len - 1);

		g_string_assign(w->path, path);
		err = entries_foreach(
		        path_open(w->store->dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0),
		        walk_entry, w);
	}
	return err;
}

/* The index of hard links first: the names in the tree are links of it. */
static int walk(struct identity_walk *w)
{
	bool links = faccessat(w->store->state, "links", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	int err = 0;

	w->seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	w->path = g_string_new(NULL);
	w->pending = g_ptr_array_new_with_free_func(g_free);
	if (links)
		err = walk_top(w, "state/links");
	if (err == 0)
		err = walk_top(w, "tree");
	if (err)
		g_warning("store %s: the scan of it stopped at %s: %s", w->store->path,
		          w->path->str, g_strerror(-err));
	g_ptr_array_unref(w->pending);
	g_string_free(w->path, TRUE);
	g_hash_table_unref(w->seen);
	return err;
}

/* Records a place that no store has, durably, before the first file is bound. If the daemon dies
 * before identity_settle(), the next check then binds the rest without counting: the files that are
 * bound already could outnumber the others, and the store would pass for an original. */
static int place_begin(struct store *s)
{
	const struct place_disk nowhere = {.format = GUINT32_TO_LE(PLACE_FORMAT)};

	if (fsetxattr(s->lock, PLACE_XATTR, &nowhere, sizeof nowhere, 0) < 0 || fsync(s->lock) < 0)
		return -errno;
	return 0;
}

int identity_check(struct store *s, bool *copied)
{
	struct identity_walk w = {.store = s};
	struct place_disk now, then;
	bool known;
	int err = place_now(s, &now);

	*copied = false;
	if (err)
		return err;
	known = place_read(s, &then) && then.format == now.format;
	if (known && memcmp(&now, &then, sizeof now) == 0)
		return 0;
	/* without a recorded place the files themselves show it */
	if (!known) {
		err = walk(&w);
		if (err || w.elsewhere <= w.here)
			return err;
		err = place_begin(s);
		if (err)
			return err;
	}
	w = (struct identity_walk){
	        .store = s, .bind = true, .unsynced = {.epoch = epoch_left(s->state)}};
	err = walk(&w);
	*copied = err == 0;
	if (err == 0)
		g_message("store %s is a copy: %" PRIu64 " files were adopted, %" PRIu64
		          " hard links restored, %" PRIu64 " files cannot be adopted",
		          s->path, w.bound, w.linked, w.loose);
	if (err == 0 && w.unsynced.kept + w.unsynced.lost > 0)
		g_warning("store %s was copied before its last changes were synced: %" PRIu64
		          " chunks of them are in the copy, %" PRIu64
		          " are missing and revert to the source",
		          s->path, w.unsynced.kept, w.unsynced.lost);
	return err;
}

int identity_settle(struct store *s)
{
	struct place_disk now, then;
	int err = place_now(s, &now);

	if (err || (place_read(s, &then) && memcmp(&now, &then, sizeof now) == 0))
		return err;
	err = epoch_syncfs(&s->epoch, s->state);
	if (err == 0 && fsetxattr(s->lock, PLACE_XATTR, &now, sizeof now, 0) < 0)
		err = -errno;
	return err;
}
