/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A directory's entries with everything that a tree can contain. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/pool.h"
#include "fetch/source/dir_private.h"

#define XATTR_NAMES_MAX 65536 /* XATTR_LIST_MAX, XATTR_SIZE_MAX: Linux's own limits */

uint64_t dir_identity(const struct stat *st)
{
	uint64_t key[2] = {st->st_dev, st->st_ino};
	uint64_t hash = XXH3_64bits(key, sizeof(key));
	return hash > 1 ? hash : hash + 2;
}

int64_t dir_mtime_ns(const struct stat *st)
{
	return st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec;
}

/* Packed; NULL: none, or none that may be read. `fd`: the directory, by which /proc names the
 * entry: there is no llistxattrat(). */
static GBytes *xattrs_read(int fd, const char *name)
{
	char path[64 + NAME_MAX];
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", fd, name);
	ssize_t total = llistxattr(path, NULL, 0);
	if (total <= 0 || total > XATTR_NAMES_MAX)
		return NULL;
	g_autofree char *names = g_malloc(total);
	total = llistxattr(path, names, total);
	g_autoptr(GPtrArray) keys = g_ptr_array_new();
	g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GArray) sizes = g_array_new(FALSE, FALSE, sizeof(size_t));
	for (char *key = names; total > 0 && key < names + total; key += strlen(key) + 1) {
		ssize_t n = lgetxattr(path, key, NULL, 0);
		char *value = n >= 0 ? g_malloc(n + 1) : NULL;
		n = value ? lgetxattr(path, key, value, n) : -1;
		if (n < 0) {
			g_free(value);
			continue;
		}
		size_t size = n;
		g_ptr_array_add(keys, key);
		g_ptr_array_add(values, value);
		g_array_append_val(sizes, size);
	}
	if (keys->len == 0)
		return NULL;
	return listing_xattrs_pack(keys->len, (const char *const *)keys->pdata,
				   (const void *const *)values->pdata, (const size_t *)sizes->data);
}

static void entry_add(struct listing_builder *b, int fd, const char *name)
{
	struct stat st;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return; /* gone since */
	struct listing_entry e = {
		.ino = dir_identity(&st),
		.size = st.st_size,
		.mtime_ns = dir_mtime_ns(&st),
		.mode = st.st_mode,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.nlink = st.st_nlink,
		.rdev = (major(st.st_rdev) << 20) | (minor(st.st_rdev) & 0xfffff),
		.flags = LISTING_SIZE_EXACT | LISTING_MTIME_KNOWN,
	};
	char target[PATH_MAX];
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlinkat(fd, name, target, sizeof(target) - 1);
		if (n < 0)
			return;
		target[n] = '\0';
	}
	g_autoptr(GBytes) xattrs = xattrs_read(fd, name);
	g_autoptr(GError) error = NULL;
	if (!listing_builder_add(b, name, strlen(name), &e, S_ISLNK(st.st_mode) ? target : NULL,
				 xattrs, &error))
		g_message("left out: %s", error->message);
}

/* Of the whole blob but for the time, so that "nothing changed" can be told. */
static bool same_listing(struct listing *a, const struct listing *b)
{
	if (listing_count(a) != listing_count(b))
		return false;
	for (uint32_t n = 0; n < listing_count(a); n++) {
		const struct listing_entry *x = listing_at(a, n), *y = listing_at(b, n);
		const char *s = listing_target(a, x), *t = listing_target(b, y);
		size_t p = 0, q = 0;
		const char *names = listing_xattr_names(a, x, &p);
		const char *others = listing_xattr_names(b, y, &q);
		if (x->ino != y->ino || x->size != y->size || x->mtime_ns != y->mtime_ns ||
		    x->mode != y->mode || x->uid != y->uid || x->gid != y->gid ||
		    x->nlink != y->nlink || x->rdev != y->rdev || g_strcmp0(s, t) != 0 ||
		    strcmp(listing_name(a, x), listing_name(b, y)) != 0 || p != q ||
		    (p > 0 && memcmp(names, others, p) != 0))
			return false;
		for (size_t off = 0; off < p; off += strlen(names + off) + 1) {
			size_t m = 0, n2 = 0;
			const void *v = listing_xattr(a, x, names + off, &m);
			const void *w = listing_xattr(b, y, names + off, &n2);
			if (m != n2 || (m > 0 && memcmp(v, w, m) != 0))
				return false;
		}
	}
	return true;
}

struct listing *dir_list(int fd, const struct listing *previous, GError **error)
{
	DIR *dir = fdopendir(fd); /* takes fd */
	if (!dir) {
		g_set_error(error, LOCAL_ERROR, errno, "%s", g_strerror(errno));
		close(fd);
		return NULL;
	}
	struct listing_builder *b = listing_builder_new();
	int64_t now = clock_realtime();
	struct dirent *d;
	errno = 0;
	while ((d = readdir(dir)))
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0) {
			entry_add(b, dirfd(dir), d->d_name);
			errno = 0;
		}
	int err = errno;
	closedir(dir);
	if (err) {
		listing_builder_free(b);
		g_set_error(error, LOCAL_ERROR, err, "%s", g_strerror(err));
		return NULL;
	}
	struct listing *l = listing_builder_finish(b, "", now, previous);
	if (!l) {
		g_set_error(error, LOCAL_ERROR, EFBIG, "too many entries");
		return NULL;
	}
	if (previous && same_listing(l, previous)) {
		listing_unref(l);
		l = listing_ref((struct listing *)previous);
		listing_set_checked(l, now);
	}
	return l;
}
