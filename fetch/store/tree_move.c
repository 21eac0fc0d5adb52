/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Names that come and go. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "fetch/path.h"
#include "fetch/store/shard.h"
#include "fetch/store/stamp.h"
#include "fetch/store/tree_private.h"

/* What goes with the last name of a file, or with anything that is no directory. */
struct last {
	bool file, other;
	struct record record;
	uint64_t key; /* of its origin */
};

/* Before the name goes. */
static void last_look(const struct place *p, struct last *l)
{
	char data[sizeof(struct record_disk) + 1];
	struct xattr_names names;
	struct stat st;
	ssize_t n;

	*l = (struct last){0};
	if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_nlink > 1 ||
	    S_ISDIR(st.st_mode))
		return;
	l->other = !S_ISREG(st.st_mode);
	if (S_ISREG(st.st_mode)) {
		place_names(p, &names);
		n = xattr_names_have(&names, RECORD_XATTR)
		            ? place_getxattr(p, RECORD_XATTR, data, sizeof data)
		            : -1;
		l->file = n >= 0 && record_decode(data, (size_t)n, &l->record) == 0;
		l->other = !l->file && xattr_names_have(&names, OWNER_XATTR) && owner_stands_in(p);
	}
	l->other = l->other && origin_key(p->dir, p->name, &l->key) == 0;
}

/* After it went. */
static void last_forget(struct store *s, const struct last *l)
{
	if (l->file && record_chunks(&l->record) > 1)
		shard_unlink(s->state, "maps", l->record.id);
	if (l->file && (l->record.flags & RECORD_KEPT))
		origin_remove(s, l->record.id);
	if (l->other) {
		origin_remove(s, l->key);
		owner_forget(s, l->key);
	}
}

int tree_unlink(struct store *s, const char *path, uint64_t number)
{
	struct last last;
	struct place p;
	char to[40];
	int err = epoch_begin(&s->epoch);

	if (err == 0)
		err = place_open(s, path, &p);
	if (err)
		return err;
	stamp_change_begin(s);
	if (number) {
		if (mkdirat(s->state, "unlinked", 0700) < 0 && errno != EEXIST)
			err = -errno;
		snprintf(to, sizeof to, "unlinked/%016" PRIx64, number);
		if (err == 0)
			err = links_settle(&p);
		if (err == 0 && renameat(p.dir, p.name, s->state, to) < 0)
			err = -errno;
	} else if ((err = links_settle(&p)) == 0) {
		last_look(&p, &last);
		if (unlinkat(p.dir, p.name, 0) < 0)
			err = -errno;
		else
			last_forget(s, &last);
	}
	stamp_change_end(s);
	place_close(&p);
	return err;
}

int tree_orphan_drop(struct store *s, uint64_t number)
{
	char path[40];

	snprintf(path, sizeof path, "/unlinked/%016" PRIx64, number);
	return tree_unlink(s, path, 0);
}

/* All that is below: nothing of it counts. */
static int empty(struct store *s, int fd)
{
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int err = fd < 0 ? fd : 0;

	while (d && err == 0 && (e = readdir(d)) != NULL) {
		struct place p = {.dir = fd, .name = e->d_name};
		struct last last;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (e->d_type == DT_DIR) {
			err = empty(s, path_open(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
			                         0));
			if (err == 0 && unlinkat(fd, e->d_name, AT_REMOVEDIR) < 0)
				err = -errno;
			continue;
		}
		last_look(&p, &last);
		if (unlinkat(fd, e->d_name, 0) < 0)
			err = -errno;
		else
			last_forget(s, &last);
	}
	if (d)
		closedir(d);
	return err;
}

void tree_gone_forget(struct store *s, uint64_t dir)
{
	char shard[SHARD_PATH_MAX];

	shard_path("gone", dir, shard);
	if (unlinkat(s->state, shard, AT_REMOVEDIR) == 0 || errno != ENOTEMPTY)
		return;
	empty(s, path_open(s->state, shard, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0));
	unlinkat(s->state, shard, AT_REMOVEDIR);
}

int place_rmdir(struct store *s, const struct place *p, uint64_t dir)
{
	struct mark_disk mark;
	int err = 0, marked = mark_read(p, &mark);

	if (unlinkat(p->dir, p->name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		err = -errno;
	if (err == -ENOTEMPTY || err == -EEXIST) {
		err = empty(s, path_open(p->dir, p->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0));
		if (err == 0 && unlinkat(p->dir, p->name, AT_REMOVEDIR) < 0)
			err = -errno;
	}
	if (err == 0 && marked == 0)
		origin_remove(s, mark.id);
	if (err == 0 && dir)
		tree_gone_forget(s, dir);
	return err;
}

int tree_rmdir(struct store *s, const char *path, uint64_t dir)
{
	struct place p;
	int err = epoch_begin(&s->epoch);

	if (err == 0)
		err = place_open(s, path, &p);
	if (err)
		return err == -ENOENT ? 0 : err; /* remote alone */
	stamp_change_begin(s);
	err = place_rmdir(s, &p, dir);
	stamp_change_end(s);
	place_close(&p);
	return err;
}

static int rename_at(struct store *s, const struct place *a, const struct place *b, const char *to,
                     unsigned flags)
{
	int err = renameat2(a->dir, a->name, b->dir, b->name, flags) < 0 ? -errno : 0;
	bool full = err == -ENOTEMPTY || (err == -EEXIST && !(flags & RENAME_NOREPLACE));

	if ((flags & RENAME_EXCHANGE) ||
	    !(full || err == -EEXIST || err == -EISDIR || err == -ENOTDIR))
		return err;
	/* leftovers, in the directory that is in the way or in its place */
	err = full ? empty(s, path_open(b->dir, b->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0))
	           : place_clear(s, b, to);
	if (err == 0 && renameat2(a->dir, a->name, b->dir, b->name, flags) < 0)
		err = -errno;
	return err;
}

int tree_rename(struct store *s, const char *from, const char *to, unsigned flags)
{
	bool replaces = !(flags & RENAME_EXCHANGE), marked;
	struct mark_disk mark;
	struct last last;
	struct place a, b;
	int err = epoch_begin(&s->epoch);

	if (err == 0)
		err = place_open(s, from, &a);
	if (err)
		return err;
	err = place_make(s, to, &b);
	if (err == 0) {
		stamp_change_begin(s);
		last_look(&b, &last);
		marked = replaces && mark_read(&b, &mark) == 0;
		if (replaces)
			err = links_settle(&b);
		if (err == 0)
			err = rename_at(s, &a, &b, to, flags);
		if (err == 0 && replaces)
			last_forget(s, &last);
		if (err == 0 && marked)
			origin_remove(s, mark.id);
		stamp_change_end(s);
		place_close(&b);
	}
	place_close(&a);
	return err;
}

int tree_link(struct store *s, const char *from, const char *to)
{
	struct place a, b;
	int err = epoch_begin(&s->epoch);

	if (err == 0)
		err = place_open(s, from, &a);
	if (err)
		return err;
	err = place_make(s, to, &b);
	if (err == 0) {
		stamp_change_begin(s);
		if (linkat(a.dir, a.name, b.dir, b.name, 0) < 0)
			err = -errno;
		if (err == -EEXIST && (err = place_clear(s, &b, to)) == 0 &&
		    linkat(a.dir, a.name, b.dir, b.name, 0) < 0)
			err = -errno;
		stamp_change_end(s);
		place_close(&b);
	}
	place_close(&a);
	return err;
}

void tree_unlinked_sweep(struct store *s)
{
	int fd = path_open(s->state, "unlinked", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL) {
		struct place p = {.dir = fd, .name = e->d_name};
		struct last last;

		last_look(&p, &last);
		if (unlinkat(fd, e->d_name, 0) == 0)
			last_forget(s, &last);
	}
	if (d)
		closedir(d);
}

int tree_aside(struct store *s, const char *path, uint64_t number)
{
	char to[40];

	if (mkdirat(s->state, "unlinked", 0700) < 0 && errno != EEXIST)
		return -errno;
	snprintf(to, sizeof to, "/unlinked/%016" PRIx64, number);
	return tree_link(s, path, to);
}
