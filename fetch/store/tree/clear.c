/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Removal of leftovers (objects that do not take precedence over the listing) in a directory that
 * is removed or in the way. No object that was made or changed locally is ever removed; doubtful
 * files are set aside. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "fetch/base/path.h"
#include "fetch/store/disk/entries.h"
#include "fetch/store/disk/space.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/disk/stamp.h"
#include "fetch/store/tree/tree_private.h"

/* Before the name goes. */
static int last_look_file(const struct place *p, const struct stat *st, struct last *l)
{
	char data[sizeof(struct record_disk) + 1];
	struct xattr_names names;
	ssize_t n = -1;
	int other = 0;

	place_names(p, &names);
	if (xattr_names_have(&names, RECORD_XATTR)) {
		n = place_getxattr(p, RECORD_XATTR, data, sizeof data);
		if (n < 0 && !xattr_is_absent(errno))
			return -errno;
	}
	/* an unbound file has no map or origin of its own */
	l->file = n >= 0 && record_decode(data, (size_t)n, &l->record) == 0 &&
	          l->record.ino == st->st_ino;
	if (!l->file && xattr_names_have(&names, OWNER_XATTR))
		other = owner_stands_in(p);
	l->other = other == 1;
	return MIN(other, 0);
}

int last_look(const struct place *p, struct last *l)
{
	struct stat st;
	int err = 0;

	*l = (struct last){0};
	if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (st.st_nlink > 1 || S_ISDIR(st.st_mode))
		return 0;
	l->other = !S_ISREG(st.st_mode);
	if (S_ISREG(st.st_mode))
		err = last_look_file(p, &st, l);
	if (err == 0 && l->other)
		err = origin_key(p->dir, p->name, &l->key);
	return err;
}

/* After it went. */
void last_forget(struct store *s, const struct last *l)
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

struct clearing {
	struct store *store;
	bool remove; /* else only look */
	/* the sweep; NULL: none */
	const struct tree_sweeping *sweeping;
	GString *path;   /* of the directory */
	uint64_t *freed; /* bytes */
};

static int clear_directory(const struct clearing *c, const struct place *p);

int place_set_aside(struct store *s, const struct place *p)
{
	char to[40];

	snprintf(to, sizeof to, "orphans/%016" PRIx64, store_number(s));
	if (mkdirat(s->state, "orphans", 0700) < 0 && errno != EEXIST)
		return -errno;
	if (renameat2(p->dir, p->name, s->state, to, RENAME_NOREPLACE) < 0)
		return -errno;
	g_message("the store's %s was set aside as state/%s", p->name, to);
	return 0;
}

static void path_push(GString *path, const char *name)
{
	if (path->len > 0)
		g_string_append_c(path, '/');
	g_string_append(path, name);
}

/* Does the kernel map the file? A passthrough mapping outlives its handle. In doubt: yes. */
static bool is_mapped(const struct place *p)
{
	int fd = openat(p->dir, p->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	bool mapped = fd < 0 || fcntl(fd, F_SETLEASE, F_WRLCK) < 0;

	if (fd >= 0)
		close(fd);
	return mapped;
}

/* A sweep spares a file that is, or may be, in use. Calls in_use(): no lock is held. */
static bool is_spared(const struct clearing *c, const struct place *p, const struct stat *st)
{
	gsize length;

	if (c->sweeping == NULL || !S_ISREG(st->st_mode))
		return false;
	length = c->path->len;
	path_push(c->path, p->name);
	bool used = c->sweeping->in_use(c->sweeping->user, c->path->str);
	g_string_truncate(c->path, length);
	return used || is_mapped(p);
}

static int clear_file(const struct clearing *c, const struct place *p, const struct stat *st,
                      bool known)
{
	struct store *s = c->store;
	struct last last;
	int err = last_look(p, &last);

	if (err)
		return err;
	if (S_ISREG(st->st_mode) && (!known || (st->st_nlink == 1 && !last.file)))
		return place_set_aside(s, p);
	if (unlinkat(p->dir, p->name, 0) < 0)
		return -errno;
	last_forget(s, &last);
	if (c->sweeping && st->st_nlink == 1) {
		*c->freed += (uint64_t)st->st_blocks * 512;
		store_space_give(s, (uint64_t)st->st_blocks * 512);
	}
	return 0;
}

/* 0: a leftover; *out: its attributes, *known: a copy of a remote file, or a directory on the way
 * to other objects. -ENOTEMPTY: no leftover. */
static int leftover_look(struct store *s, const struct place *p, struct stat *out, bool *known)
{
	struct tree_node n;
	int err = place_look(s, p, &n);

	if (err == 0)
		tree_node_clear(&n);
	if (err == 0 || err == -EUCLEAN) /* damaged, but changed locally */
		return -ENOTEMPTY;
	if (err != -ENOENT && err != -ESTALE)
		return err;
	*known = err == -ENOENT;
	return fstatat(p->dir, p->name, out, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int clear_place(const struct clearing *c, const struct place *p)
{
	struct stat st;
	bool known;
	int err = leftover_look(c->store, p, &st, &known);

	if (err)
		return err == -ENOENT ? 0 : err;
	if (is_spared(c, p, &st))
		return -EBUSY;
	if (!S_ISDIR(st.st_mode))
		return c->remove ? clear_file(c, p, &st, known) : 0;
	err = clear_directory(c, p);
	if (err || !c->remove)
		return err;
	return unlinkat(p->dir, p->name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int clear_entry(int fd, struct dirent *e, void *user)
{
	const struct clearing *c = user;
	struct place p;

	place_at(fd, e->d_name, &p);
	int err = clear_place(c, &p);
	return c->sweeping ? 0 : err; /* a sweep tries the other entries all the same */
}

static int clear_directory(const struct clearing *c, const struct place *p)
{
	gsize length = c->path ? c->path->len : 0;
	int err;

	if (c->path)
		path_push(c->path, p->name);
	err = entries_foreach(path_open(p->dir, p->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0),
	                      clear_entry, (void *)c);
	if (c->path)
		g_string_truncate(c->path, length);
	return err;
}

int clear_below(struct store *s, const struct place *p, bool remove)
{
	struct clearing c = {.store = s, .remove = remove};

	return clear_directory(&c, p);
}

static int sweep_entry(int fd, struct dirent *e, void *user)
{
	const struct clearing *c = user;
	const struct tree_sweeping *w = c->sweeping;
	struct stamp stamp;
	struct place p;
	struct stat st;
	bool known;

	place_at(fd, e->d_name, &p);
	if (leftover_look(c->store, &p, &st, &known) != 0 ||
	    w->visible(w->user, e->d_name, st.st_mode & S_IFMT))
		return 0;
	if (is_spared(c, &p, &st) || (S_ISDIR(st.st_mode) && clear_directory(c, &p) != 0))
		return 0;
	stamp_begin(c->store, fd, &stamp);
	if (S_ISDIR(st.st_mode))
		unlinkat(fd, e->d_name, AT_REMOVEDIR);
	else
		clear_file(c, &p, &st, known);
	stamp_end(c->store, &stamp);
	return 0;
}

int tree_sweep(struct store *s, const char *path, const struct tree_sweeping *w, uint64_t *freed)
{
	g_autoptr(GString) at = g_string_new(path);
	struct clearing c = {.store = s, .remove = true, .sweeping = w, .path = at, .freed = freed};
	int err = epoch_begin(&s->epoch);

	if (err == 0)
		err = entries_foreach(
		        path_open(s->tree, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0),
		        sweep_entry, &c);
	return err == -ENOENT || err == -ENOTDIR || err == -ELOOP ? 0 : err;
}

int place_rmdir(struct store *s, const struct place *p, uint64_t dir)
{
	struct mark_disk mark;
	int err = 0, marked = mark_read(p, &mark);

	if (marked && marked != -ENOENT && !xattr_is_absent(-marked))
		return marked;
	if (unlinkat(p->dir, p->name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		err = -errno;
	if (err == -ENOTEMPTY || err == -EEXIST) {
		err = clear_below(s, p, true);
		if (err == 0 && unlinkat(p->dir, p->name, AT_REMOVEDIR) < 0)
			err = -errno;
	}
	if (err == 0 && marked == 0)
		origin_remove(s, mark.id);
	if (err == 0 && dir)
		tree_gone_forget(s, dir);
	return err;
}

int tree_clears(struct store *s, const char *path)
{
	struct place p;
	int err = place_open(s, path, &p);

	if (err)
		return err == -ENOENT || err == -ENOTDIR || err == -ELOOP ? 0 : err;
	err = clear_below(s, &p, false);
	place_close(&p);
	return err == -ENOENT || err == -ENOTDIR || err == -ELOOP ? 0 : err;
}

static int gone_forget(int fd, struct dirent *e, void *user)
{
	return unlinkat(fd, e->d_name, 0) < 0 ? -errno : 0;
}

void tree_gone_forget(struct store *s, uint64_t dir)
{
	char shard[SHARD_PATH_MAX];

	shard_path("gone", dir, shard);
	if (unlinkat(s->state, shard, AT_REMOVEDIR) == 0 || errno != ENOTEMPTY)
		return;
	entries_foreach(path_open(s->state, shard, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0),
	                gone_forget, NULL);
	unlinkat(s->state, shard, AT_REMOVEDIR);
}
