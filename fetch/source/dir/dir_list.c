/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One directory becomes a listing. A directory's own times do not change with the attributes of its
 * entries, so it is always read; its validator is the hash of all entries. */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/base/dirents.h"
#include "fetch/base/path.h"
#include "fetch/source/dir/dir_private.h"

struct reading {
	struct dir_source *source;
	const char *path;
	int fd;                          /* borrowed */
	struct listing_builder *builder; /* owned */
	XXH3_state_t *hash;              /* owned; 128 bits */
	uint64_t refused;
};

static struct listing_entry make_entry(const struct dir_source *d, const struct statx *st)
{
	struct listing_entry e = {0};

	e.ino = dir_ino(d, st);
	e.size = st->stx_size;
	e.mtime_ns = dir_time(&st->stx_mtime);
	e.mode = st->stx_mode;
	e.uid = d->own ? d->uid : st->stx_uid;
	e.gid = d->own ? d->gid : st->stx_gid;
	if (d->own && !S_ISDIR(st->stx_mode))
		e.mode &= ~(uint32_t)(S_ISUID | S_ISGID); /* they were for another owner */
	e.nlink = MAX(st->stx_nlink, 1);
	if (S_ISCHR(st->stx_mode) || S_ISBLK(st->stx_mode))
		e.rdev = st->stx_rdev_major << 20 | (st->stx_rdev_minor & 0xfffff);
	e.flags = LISTING_SIZE_EXACT | LISTING_MTIME_KNOWN;
	return e;
}

static void hash_entry(struct reading *r, const char *name, const struct listing_entry *e,
                       const char *target, GBytes *xattrs)
{
	gsize size = 0;
	const void *data = xattrs ? g_bytes_get_data(xattrs, &size) : NULL;
	uint64_t length = size;

	XXH3_128bits_update(r->hash, e, sizeof *e); /* zeroed: no padding is left to chance */
	XXH3_128bits_update(r->hash, name, strlen(name) + 1);
	if (target)
		XXH3_128bits_update(r->hash, target, strlen(target) + 1);
	XXH3_128bits_update(r->hash, &length, sizeof length);
	XXH3_128bits_update(r->hash, data, size);
}

/* 0, or a positive errno. An entry that vanishes meanwhile is left out. */
static int read_entry(struct reading *r, const char *name)
{
	g_autoptr(GBytes) xattrs = NULL;
	g_autoptr(GError) why = NULL;
	char target[PATH_MAX];
	struct listing_entry e;
	struct statx st;
	bool is_link;

	if (statx(r->fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, DIR_STATX, &st) < 0)
		return errno == ENOENT ? 0 : errno;
	e = make_entry(r->source, &st);
	is_link = S_ISLNK(st.stx_mode);
	if (is_link) {
		ssize_t n = readlinkat(r->fd, name, target, sizeof target - 1);

		if (n <= 0)
			return n == 0 || errno == ENOENT || errno == EINVAL ? 0 : errno;
		target[n] = '\0';
		e.size = (uint64_t)n;
	}
	xattrs = dir_xattrs(r->fd, name);
	if (!listing_builder_add(r->builder, name, strlen(name), &e, is_link ? target : NULL,
	                         xattrs, &why)) {
		r->refused++;
		return g_error_matches(why, LOCAL_ERROR, EFBIG) ? EFBIG : 0;
	}
	hash_entry(r, name, &e, is_link ? target : NULL, xattrs);
	return 0;
}

static bool read_entries(struct reading *r, struct dirents *dirents, GError **error)
{
	while (dir_goes_on(r->source, error)) {
		struct dirent *e;
		int more = dirents_next(dirents, &e);
		int err = more > 0 ? read_entry(r, e->d_name) : -more;

		if (err) {
			dir_fail(r->source, r->path, err, error);
			return false;
		}
		if (more == 0)
			return true;
	}
	return false;
}

static bool finish(struct reading *r, struct source_list *req, GError **error)
{
	XXH128_hash_t hash = XXH3_128bits_digest(r->hash);
	char validator[64];
	int64_t now = clock_realtime();

	g_snprintf(validator, sizeof validator,
	           "O%016" G_GINT64_MODIFIER "x\n%016" G_GINT64_MODIFIER "x%016" G_GINT64_MODIFIER
	           "x",
	           (guint64)r->source->source.shape, (guint64)hash.high64, (guint64)hash.low64);
	if (r->refused > 0)
		g_message("dir:%s/%s: %" G_GUINT64_FORMAT " names cannot be listed",
		          r->source->root, r->path, (guint64)r->refused);
	if (req->previous && strcmp(listing_validator(req->previous), validator) == 0) {
		req->listing = listing_ref(req->previous);
		return true;
	}
	req->listing =
	        listing_builder_finish(g_steal_pointer(&r->builder), validator, now, req->previous);
	if (req->listing)
		return true;
	dir_fail(r->source, r->path, ENOMEM, error);
	return false;
}

bool dir_list(struct dir_source *d, struct source_list *req, GError **error)
{
	struct reading r = {.source = d, .path = req->base.path};
	struct dirents *dirents;
	bool ok = false;

	r.fd = path_open(d->fd, r.path, O_RDONLY | O_DIRECTORY, 0);
	if (r.fd < 0) {
		dir_fail(d, r.path, -r.fd, error);
		return false;
	}
	dirents = dirents_new(r.fd);
	r.builder = listing_builder_new();
	r.hash = XXH3_createState();
	if (r.hash) {
		XXH3_128bits_reset(r.hash);
		ok = read_entries(&r, dirents, error) && finish(&r, req, error);
	} else {
		dir_fail(d, r.path, ENOMEM, error);
	}
	if (r.builder)
		listing_builder_free(r.builder);
	XXH3_freeState(r.hash);
	dirents_free(dirents);
	return ok;
}
