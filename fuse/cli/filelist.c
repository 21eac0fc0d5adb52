/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "fuse/cli/filelist.h"
#include "fuse/base/mounts.h"

struct file_identity {
	guint64 ino, dev;
};

static guint identity_hash(gconstpointer p)
{
	const struct file_identity *i = p;
	return g_int64_hash(&i->ino) ^ g_int64_hash(&i->dev);
}

static gboolean identity_equal(gconstpointer a, gconstpointer b)
{
	const struct file_identity *x = a, *y = b;
	return x->ino == y->ino && x->dev == y->dev;
}

static void entry_clear(void *data)
{
	g_free(((struct filelist_entry *)data)->path);
}

struct filelist *filelist_new(void)
{
	struct filelist *l = g_new0(struct filelist, 1);
	l->entries = g_array_new(FALSE, FALSE, sizeof(struct filelist_entry));
	g_array_set_clear_func(l->entries, entry_clear);
	l->seen = g_hash_table_new_full(identity_hash, identity_equal, g_free, NULL);
	return l;
}

void filelist_free(struct filelist *l)
{
	g_array_unref(l->entries);
	g_hash_table_unref(l->seen);
	g_free(l);
}

static void list_add(struct filelist *l, const char *path, const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return;
	struct file_identity *i = g_new(struct file_identity, 1);
	*i = (struct file_identity){st->st_ino, st->st_dev};
	if (!g_hash_table_add(l->seen, i))
		return; /* a hard link, or named twice */
	struct filelist_entry entry = {g_strdup(path), (uint64_t)st->st_size, st->st_dev,
	                               st->st_ino};
	g_array_append_val(l->entries, entry);
	l->bytes += entry.size;
}

struct filelist_walk {
	struct filelist *list;
	const GPtrArray *mounts;
	const struct filelist_ops *ops;
	void *user;
	GPtrArray *directories; /* of char *: to be read, the last first */
	dev_t dev;              /* of the argument that is being walked */
};

static void walk_failed(struct filelist_walk *w, const char *path, const char *cause)
{
	w->ops->failed(w->user, path, cause);
}

static void walk_take(struct filelist_walk *w, const char *path, const struct stat *st)
{
	if (st->st_dev != w->dev)
		return; /* another mount */
	if (S_ISDIR(st->st_mode))
		g_ptr_array_add(w->directories, g_strdup(path));
	else
		list_add(w->list, path, st);
}

/* fts(3) would be shorter, but its readdir(3) takes a failure for the end of the directory: a
 * listing that cannot be fetched would look like an empty one. */
static bool walk_directory(struct filelist_walk *w, const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *e;
	struct stat own;
	bool wanted = true;
	if (!directory) {
		walk_failed(w, path, g_strerror(errno));
		return true;
	}
	bool known = fstat(dirfd(directory), &own) == 0;
	if (w->ops->directory && known)
		w->ops->directory(w->user, path, own.st_dev, own.st_ino);
	while ((wanted = w->ops->walking(w->user, w->list)) &&
	       (errno = 0, e = readdir(directory))) {
		struct stat st;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		g_autofree char *child = g_build_filename(path, e->d_name, NULL);
		if (fstatat(dirfd(directory), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			walk_failed(w, child, g_strerror(errno));
		else
			walk_take(w, child, &st);
	}
	if (wanted && errno)
		walk_failed(w, path, g_strerror(errno));
	else if (wanted && w->ops->listed && known)
		w->ops->listed(w->user, path, own.st_dev, own.st_ino);
	closedir(directory);
	return wanted;
}

static bool walk_argument(struct filelist_walk *w, const char *path)
{
	struct stat st;
	bool wanted = w->ops->walking(w->user, w->list);
	if (stat(path, &st) != 0) {
		walk_failed(w, path, g_strerror(errno));
		return wanted;
	}
	if (!mounts_of_device(w->mounts, major(st.st_dev), minor(st.st_dev))) {
		walk_failed(w, path, "not in a lacunafs mount");
		return wanted;
	}
	w->dev = st.st_dev;
	walk_take(w, path, &st);
	while (wanted && w->directories->len) {
		g_autofree char *next =
		        g_ptr_array_steal_index(w->directories, w->directories->len - 1);
		wanted = walk_directory(w, next);
	}
	return wanted;
}

void filelist_walk(struct filelist *l, char **paths, const GPtrArray *mounts,
                   const struct filelist_ops *ops, void *user)
{
	struct filelist_walk w = {l, mounts, ops, user, g_ptr_array_new_with_free_func(g_free), 0};
	for (char **path = paths; *path; path++)
		if (!walk_argument(&w, *path))
			break;
	g_ptr_array_unref(w.directories);
}
