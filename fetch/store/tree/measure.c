/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fetch/store/tree/measure.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "fetch/base/nanoseconds.h"
#include "fetch/base/path.h"
#include "fetch/store/disk/entries.h"
#include "fetch/store/tree/tree_private.h"

#define WANTED_EVERY 1024 /* entries: a directory may have millions */

struct measure_walk {
	struct store *store;
	const struct measure *measure;
	GString *path; /* in STORE, of the directory that is being read */
	GPtrArray
	        *pending; /* the same of others: a tree may be deeper than there are descriptors */
	GHashTable *linked; /* st_ino of files with several names */
	bool tree;          /* below STORE/tree */
	bool packs;         /* below STORE/state/packs */
	uint64_t entries;
	struct space_use use;
};

/* Some of the file's data is fetched, or may be. */
static bool is_fetched(int fd, const char *name, const struct stat *st, bool *mixed)
{
	char data[sizeof(struct record_disk) + 1];
	struct record r;
	struct place p;
	ssize_t n;

	place_at(fd, name, &p);
	n = place_getxattr(&p, RECORD_XATTR, data, sizeof data);
	if (n < 0 || record_decode(data, (size_t)n, &r) != 0 || r.ino != st->st_ino)
		return false;
	*mixed = r.flags & RECORD_LIMIT;
	return !(r.flags & RECORD_LOCAL);
}

static void walk_file(struct measure_walk *w, int fd, const char *name, const struct stat *st)
{
	struct measured m = {.number = st->st_ino,
	                     .bytes = (uint64_t)st->st_blocks * 512,
	                     .fetched_ns = nanoseconds(st->st_ctim)};
	gsize length = w->path->len;
	bool mixed;

	if ((!w->tree && !w->packs) || st->st_blocks == 0 || !is_fetched(fd, name, st, &mixed))
		return;
	if (!mixed) /* how much of it is local is in its map */
		w->use.fetched += m.bytes;
	g_string_append_printf(w->path, "/%s", name);
	m.path = w->path->str + (w->tree ? strlen("tree/") : strlen("state"));
	w->measure->file(w->measure->user, &m);
	g_string_truncate(w->path, length);
}

static int walk_entry(int fd, struct dirent *e, void *user)
{
	struct measure_walk *w = user;
	struct stat st;

	if (++w->entries % WANTED_EVERY == 0 && !w->measure->wanted(w->measure->user))
		return -ECANCELED;
	if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISDIR(st.st_mode) && st.st_nlink > 1 &&
	    !g_hash_table_add(w->linked, (void *)(uintptr_t)st.st_ino))
		return 0;
	w->use.used += (uint64_t)st.st_blocks * 512;
	if (S_ISREG(st.st_mode))
		walk_file(w, fd, e->d_name, &st);
	if (S_ISDIR(st.st_mode))
		g_ptr_array_add(w->pending, g_strdup_printf("%s/%s", w->path->str, e->d_name));
	return 0;
}

static int walk_directory(struct measure_walk *w, const char *path)
{
	const struct measure *m = w->measure;
	int fd, err;

	if (!m->wanted(m->user))
		return -ECANCELED;
	g_string_assign(w->path, path);
	w->tree = path[0] == 't';
	w->packs = strcmp(path, "state/packs") == 0;
	fd = path_open(w->store->dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	err = entries_foreach(fd, walk_entry, w);
	/* It was removed; or it is closed to the daemon, and holds nothing that can be fetched. */
	return err == -ENOENT || err == -ENOTDIR || err == -ELOOP || err == -EACCES ? 0 : err;
}

int store_measure(struct store *s, const struct measure *m)
{
	struct measure_walk w = {.store = s, .measure = m, .use.known = true};
	struct space_use before;
	int err = 0;

	w.path = g_string_new(NULL);
	w.pending = g_ptr_array_new_with_free_func(g_free);
	w.linked = g_hash_table_new(NULL, NULL);
	store_space_use(s, &before);
	/* the tree last, and thus first to be read: state/links has further names of its files */
	g_ptr_array_add(w.pending, g_strdup("state"));
	g_ptr_array_add(w.pending, g_strdup("tree"));
	while (w.pending->len > 0 && err == 0) {
		g_autofree char *path = g_ptr_array_steal_index(w.pending, w.pending->len - 1);

		err = walk_directory(&w, path);
	}
	if (err == 0)
		store_space_measured(s, &before, &w.use);
	g_hash_table_unref(w.linked);
	g_ptr_array_unref(w.pending);
	g_string_free(w.path, TRUE);
	return err;
}
