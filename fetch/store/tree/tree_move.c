/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Renames, links and removes names. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "fetch/base/path.h"
#include "fetch/store/disk/entries.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/disk/stamp.h"
#include "fetch/store/tree/tree_private.h"

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
	} else if ((err = links_settle(&p)) == 0 && (err = last_look(&p, &last)) == 0) {
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

int tree_rmdir(struct store *s, const char *path, uint64_t dir)
{
	struct place p;
	int err = epoch_begin(&s->epoch);

	if (err == 0)
		err = place_open(s, path, &p);
	if (err)
		return err == -ENOENT ? 0 : err; /* it is only remote */
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
	/* leftovers, in the directory that is in the way or at its name */
	err = full ? clear_below(s, b, true) : place_clear(s, b, to);
	if (err == 0 && renameat2(a->dir, a->name, b->dir, b->name, flags) < 0)
		err = -errno;
	return err;
}

int tree_rename(struct store *s, const char *from, const char *to, unsigned flags)
{
	bool replaces = !(flags & RENAME_EXCHANGE);
	int marked = -ENODATA;
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
		err = last_look(&b, &last);
		if (err == 0 && replaces)
			marked = mark_read(&b, &mark);
		if (err == 0 && marked && marked != -ENOENT && !xattr_is_absent(-marked))
			err = marked;
		if (err == 0 && replaces)
			err = links_settle(&b);
		if (err == 0)
			err = rename_at(s, &a, &b, to, flags);
		if (err == 0 && replaces)
			last_forget(s, &last);
		if (err == 0 && marked == 0)
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

static int unlinked_drop(int fd, struct dirent *e, void *user)
{
	struct store *s = user;
	struct place p;
	struct last last;

	place_at(fd, e->d_name, &p);
	/* else it is of the next sweep */
	if (last_look(&p, &last) == 0 && unlinkat(fd, e->d_name, 0) == 0)
		last_forget(s, &last);
	return 0;
}

void tree_unlinked_sweep(struct store *s)
{
	entries_foreach(path_open(s->state, "unlinked", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0),
	                unlinked_drop, s);
}

static int orphan_found(int fd, struct dirent *e, void *user)
{
	GArray *numbers = user;
	char *end;
	uint64_t number = g_ascii_strtoull(e->d_name, &end, 16);

	if (number && *end == '\0' && strlen(e->d_name) == 16)
		g_array_append_val(numbers, number);
	return 0;
}

GArray *tree_orphans(struct store *s)
{
	GArray *numbers = g_array_new(FALSE, FALSE, sizeof(uint64_t));

	entries_foreach(path_open(s->state, "unlinked", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0),
	                orphan_found, numbers);
	return numbers;
}

int tree_aside(struct store *s, const char *path, uint64_t number)
{
	char to[40];

	if (mkdirat(s->state, "unlinked", 0700) < 0 && errno != EEXIST)
		return -errno;
	snprintf(to, sizeof to, "/unlinked/%016" PRIx64, number);
	return tree_link(s, path, to);
}
