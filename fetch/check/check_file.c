/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Objects of the tree: their marks, records and origins. */
#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fetch/check/check_private.h"
#include "fetch/store/disk/shard.h"

#define MOVE_OUT "unmount, and move it out of the store: then the source's version is shown again"

/* 0: it has one. */
static int origin_check(struct check *c, uint64_t id, bool needed, uint64_t *ino)
{
	g_autofree char *remote = NULL;
	int err = origin_read(c->store, id, ino, &remote);

	if (err == -ENOENT && needed)
		check_found(
		        c, false, MOVE_OUT,
		        "which remote object it is, is not recorded (state/origins): changes of "
		        "its name are not shown");
	else if (err == -EUCLEAN && needed)
		check_found(
		        c, false, MOVE_OUT,
		        "the record of which remote object it is, is damaged (state/origins): it "
		        "cannot be used");
	else if (err == -EUCLEAN)
		check_found(c, check_repairs(c), NULL,
		            "the record of which remote object it was, is damaged (state/origins)");
	else if (err < 0 && err != -ENOENT)
		check_unread(c, err);
	if (err == -EUCLEAN && !needed && check_repairs(c))
		origin_remove(c->store, id); /* as if it had been created locally */
	return err;
}

static void check_directory(struct check *c, const struct place *p)
{
	struct mark_disk m;
	char data[sizeof m + 1];
	uint64_t ino;
	ssize_t n = place_getxattr(p, RECORD_XATTR, data, sizeof data);
	int err = n < 0 && errno != ERANGE ? -errno : mark_read(p, &m);

	if (n < 0 && (err == -ENODATA || err == -EOPNOTSUPP))
		return;
	if (err && err != -ENODATA)
		check_unread(c, err);
	else if (err)
		check_found(c, false, "compare it with what you expect, and rename it in the mount",
		            "its mark is damaged: it is taken for the source's directory");
	else if (!(m.flags & MARK_DIR_LOCAL))
		origin_check(c, m.id, true, &ino);
}

/* A kept file whose other names are not in the tree is found for them in the index. */
static void links_check(struct check *c, const struct place *p, const struct stat *st, uint64_t ino)
{
	uint32_t pending, base;
	char path[SHARD_PATH_MAX];
	struct stat other;
	bool mended = false;

	int has = links_read(p, &pending, &base);

	if (has < 0)
		check_unread(c, has);
	if (has < 1 || pending == 0)
		return;
	shard_path("links", ino, path);
	if (fstatat(c->store->state, path, &other, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT) {
			check_unread(c, -errno);
			return;
		}
		if (check_repairs(c))
			mended = shard_make(c->store->state, "links", ino) == 0 &&
			         linkat(p->dir, p->name, c->store->state, path, 0) == 0;
		check_found(c, mended, NULL, "its other names are not found (state/links)");
	} else if (other.st_ino != st->st_ino) {
		check_found(c, false, "unmount, and remove that file in state/links",
		            "its other names are those of another file (state/links)");
	}
}

static bool size_fits(const struct check *c, const struct record *r, uint64_t size)
{
	return (r->flags & (RECORD_LOCAL | RECORD_LIMIT)) || size == r->size ||
	       record_is_blank(r) || (size < r->size && r->epoch != c->epoch);
}

static void data_check(struct check *c, struct check_file *f)
{
	uint64_t bad;
	int err;

	if (record_chunks(f->record) > 1 && !check_map(c, f))
		return;
	if (c->options->bytes)
		check_bytes(c, f);
	bad = f->bad->len;
	if (bad == 0 || c->stopped)
		return;
	err = check_repairs(c) ? check_drop(f) : 0;
	check_found(c, check_repairs(c) && err == 0, NULL,
	            "%" G_GUINT64_FORMAT " of its cached chunks %s damaged, and %s fetched again",
	            bad, bad == 1 ? "is" : "are",
	            !check_repairs(c) ? "should be"
	            : err             ? "could not be dropped to be"
	                              : "will be");
}

static void record_found(struct check *c, const struct place *p, const struct stat *st,
                         const struct record *r)
{
	struct check_file f = {.place = p, .record = r, .fd = -1, .map_fd = -1};
	bool local = r->flags & RECORD_LOCAL;
	uint64_t ino;

	if (r->ino != st->st_ino && !c->elsewhere) {
		check_found(c, false,
		            "none is needed: the next access sets it aside in state/orphans",
		            "the file is not the one that its record was made for");
		return;
	}
	if (!size_fits(c, r, (uint64_t)st->st_size)) {
		check_found(c, false,
		            "none is needed: the next access sets it aside in state/orphans",
		            "its size is not that of its record");
		return;
	}
	if ((r->flags & RECORD_KEPT) && origin_check(c, r->id, !local, &ino) == 0)
		links_check(c, p, st, ino);
	if (local || record_chunks(r) == 0 || c->elsewhere)
		return;
	f.fd = openat(p->dir, p->name,
	              (check_repairs(c) ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY |
	                      O_CLOEXEC);
	if (f.fd < 0) {
		check_unread(c, -errno);
		return;
	}
	fcntl(f.fd, F_SETFL, O_NOATIME);
	f.limit = r->flags & RECORD_LIMIT ? MIN(r->remote_limit, (uint64_t)st->st_size) : r->size;
	f.bad = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	data_check(c, &f);
	g_array_unref(f.bad);
	close(f.fd);
	if (f.map_fd >= 0)
		close(f.map_fd);
}

static void check_regular(struct check *c, const struct place *p, const struct stat *st)
{
	char data[sizeof(struct record_disk) + 1];
	ssize_t n = place_getxattr(p, RECORD_XATTR, data, sizeof data);
	struct record r;
	int err;

	if (n < 0 && (errno == ENODATA || errno == EOPNOTSUPP))
		return; /* plain local content */
	if (n < 0 && errno != ERANGE) {
		check_unread(c, -errno);
		return;
	}
	err = n < 0 ? -ESTALE : record_decode(data, (size_t)n, &r);
	if (err == -EOPNOTSUPP)
		check_unread(c, err);
	else if (err)
		check_found(c, false,
		            "none is needed: the next access sets it aside in state/orphans",
		            "its record is damaged");
	else
		record_found(c, p, st, &r);
}

void check_object(struct check *c, const struct place *p, const struct stat *st)
{
	if (S_ISDIR(st->st_mode))
		check_directory(c, p);
	else if (S_ISREG(st->st_mode))
		check_regular(c, p, st);
}
