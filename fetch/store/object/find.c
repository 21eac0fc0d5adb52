/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The object at a path, and whether it is ours. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "fetch/base/path.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/object/object_private.h"

/* O_NONBLOCK: a foreign fifo in the store must not block us. */
static const int LOOK = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

bool record_is_dead(const struct store *s, const struct record *r)
{
	return !(r->flags & RECORD_LOCAL) && r->epoch != s->epoch.number;
}

void found_clear(struct found *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	g_clear_pointer(&f->path, g_free);
}

/* After a machine crash a file may be shorter than its record says: its data never reached the
 * disk, and the missing part will not match its hash. */
static int found_check(const struct store *s, const struct found *f)
{
	uint64_t size = (uint64_t)f->st.st_size;

	if (f->record.ino != f->st.st_ino)
		return -ESTALE;
	if (f->record.flags & (RECORD_LOCAL | RECORD_LIMIT))
		return 0;
	if (size == f->record.size || (size < f->record.size && record_is_dead(s, &f->record)))
		return 0;
	/* no data yet; a first write or truncation was interrupted */
	if (record_is_blank(&f->record))
		return 0;
	return -ESTALE;
}

static int found_read(const struct store *s, struct found *f)
{
	int err;

	if (fstat(f->fd, &f->st) < 0)
		return -errno;
	if (!S_ISREG(f->st.st_mode))
		return -ENOENT;
	err = record_read(f->fd, &f->record);
	if (err == -ENODATA)
		return -ENOENT;
	return err ? err : found_check(s, f);
}

int found_again(const struct store *s, struct found *f)
{
	return found_read(s, f);
}

static bool is_absence(int err)
{
	return err == -ENOENT || err == -ENOTDIR || err == -ELOOP || err == -ENXIO ||
	       err == -ENODEV;
}

int find_file(struct store *s, const char *path, uint64_t ino, struct found *out)
{
	char link[SHARD_PATH_MAX];
	int err;

	*out = (struct found){.dir = path[0] == '/' ? s->state : s->tree};
	path += path[0] == '/';
	out->fd = path_open(out->dir, path, LOOK, 0);
	if (is_absence(out->fd) && ino && __atomic_load_n(&s->links, __ATOMIC_ACQUIRE)) {
		out->fd = shard_open(s->state, "links", ino, O_RDONLY);
		out->dir = s->state;
		out->by_link = true;
	}
	if (out->fd < 0)
		return is_absence(out->fd) ? -ENOENT : out->fd;
	if (out->by_link)
		shard_path("links", ino, link);
	out->path = g_strdup(out->by_link ? link : path);
	err = found_read(s, out);
	if (err) {
		close(out->fd);
		out->fd = -1;
	}
	return err;
}

int store_probe(struct store *s, const char *path, uint64_t ino, struct store_probe *out)
{
	struct found f;
	int err = find_file(s, path, ino, &f);
	const struct record *r = &f.record;

	found_clear(&f);
	if (err)
		return err == -ESTALE ? -ENOENT : err;
	/* its only chunk is absent: no data */
	if (record_chunks(r) == 1 && r->hash == 0 && !(r->flags & RECORD_KEPT))
		return -ENOENT;
	*out = (struct store_probe){
	        .size = r->size,
	        .version = r->version,
	        .mtime_ns = r->mtime_ns,
	        .complete = (r->flags & RECORD_COMPLETE) && !record_is_dead(s, r),
	};
	return 0;
}

int store_open_readonly(struct store *s, const char *path, uint64_t ino)
{
	struct found f;
	int err = find_file(s, path, ino, &f);

	/* waits for an eviction that began before the open; a later one sees the descriptor */
	if (err == 0 && shared_wait(s, f.st.st_ino))
		err = found_again(s, &f);
	if (err == 0 && (!(f.record.flags & RECORD_COMPLETE) || record_is_dead(s, &f.record)))
		err = -ENOENT;
	if (err == 0) {
		int fd = f.fd;

		f.fd = -1;
		found_clear(&f);
		return fd;
	}
	found_clear(&f);
	return err == -ESTALE ? -ENOENT : err;
}
