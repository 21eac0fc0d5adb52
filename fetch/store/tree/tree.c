/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Looks up objects of the local tree, and tells leftovers from the others. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fetch/base/nanoseconds.h"
#include "fetch/base/path.h"
#include "fetch/base/pool.h"
#include "fetch/store/disk/entries.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/tree/tree_private.h"

void tree_node_clear(struct tree_node *n)
{
	g_clear_pointer(&n->remote, g_free);
}

/* Without its origin an object would follow the listing; with a wrong one it would show another
 * file's data. */
static int origin_error(const char *name, int err)
{
	if (err == -EUCLEAN)
		g_warning("which remote object the store's %s is was recorded, but the record is "
		          "damaged (state/origins): it cannot be used; see `lacunafs verify`",
		          name);
	return err == -ENOENT ? -ESTALE : err;
}

static int look_directory(struct store *s, const struct place *p, struct tree_node *n)
{
	struct mark_disk m;
	uint64_t ino = 0;
	int err = mark_read(p, &m);

	if (err)
		return err == -ENODATA ? -ENOENT : err;
	n->kind = m.flags & MARK_DIR_LOCAL ? TREE_LOCAL : TREE_KEPT;
	if (n->kind == TREE_LOCAL)
		return 0;
	err = origin_read(s, m.id, &ino, &n->remote);
	if (err == 0)
		n->st.st_ino = ino;
	return origin_error(p->name, err);
}

static int look_record(struct store *s, const struct place *p, const struct record *r,
                       struct tree_node *n)
{
	uint64_t ino = 0;
	int err;

	if (!(r->flags & RECORD_KEPT))
		return -ENOENT;
	n->kind = r->flags & RECORD_LOCAL ? TREE_LOCAL : TREE_KEPT;
	err = origin_read(s, r->id, &ino, &n->remote);
	/* a fully local file needs none, as one that was created locally */
	if ((err == -ENOENT || err == -EUCLEAN) && n->kind == TREE_LOCAL)
		return 0;
	if (err)
		return origin_error(p->name, err);
	n->st.st_ino = ino;
	n->mixed = r->flags & RECORD_LIMIT;
	if (n->kind == TREE_KEPT && !n->mixed)
		n->st.st_size = (off_t)r->size;
	if (n->kind == TREE_LOCAL || ((r->flags & RECORD_COMPLETE) && !record_is_dead(s, r)))
		return 0;
	/* the file's own mtime is that of the last chunk that arrived */
	n->st.st_mtim = nanoseconds_split(r->mtime_ns);
	return 0;
}

/* Most files have no xattr of ours: one list of names shows it. */
static int look_file(struct store *s, const struct place *p, struct tree_node *n, bool *owned)
{
	char data[sizeof(struct record_disk) + 1];
	struct xattr_names names;
	uint32_t seals;
	struct record r;
	ssize_t size;
	int err, has;

	place_names(p, &names);
	*owned = xattr_names_have(&names, OWNER_XATTR);
	has = xattr_names_have(&names, SEALS_XATTR)
	              ? place_xattr(p, SEALS_XATTR, &seals, sizeof seals)
	              : 0;
	if (has == 1)
		n->seals = GUINT32_FROM_LE(seals);
	if (has >= 0)
		has = xattr_names_have(&names, LINKS_XATTR) ? links_count(p, &n->st) : 0;
	n->indexed = has == 1;
	if (has < 0)
		return has;
	if (!xattr_names_have(&names, RECORD_XATTR))
		return 0;
	size = place_getxattr(p, RECORD_XATTR, data, sizeof data);
	if (size < 0)
		return errno == ENODATA || errno == EOPNOTSUPP ? 0 : -errno;
	err = record_decode(data, (size_t)size, &r);
	if (err)
		return err == -ESTALE ? -ENOENT : err;
	return look_record(s, p, &r, n);
}

/* Of an object that can carry no mark, or of a file that stands in for one. */
static int look_other(struct store *s, const struct place *p, struct tree_node *n)
{
	uint64_t ino, key;
	int err = origin_key(p->dir, p->name, &key);

	if (err == 0)
		err = origin_read(s, key, &ino, &n->remote);
	if (err == 0)
		n->st.st_ino = ino;
	return err == -ENOENT || err == -EUCLEAN ? 0 : err;
}

int place_look(struct store *s, const struct place *p, struct tree_node *out)
{
	struct tree_node n = {.kind = TREE_LOCAL, .looked_ns = clock_now()};
	struct stat own;
	bool owned = true; /* perhaps */
	int err = 0;

	if (fstatat(p->dir, p->name, &n.st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	own = n.st;
	if (S_ISDIR(n.st.st_mode))
		err = look_directory(s, p, &n);
	else if (S_ISREG(n.st.st_mode))
		err = look_file(s, p, &n, &owned);
	else
		err = look_other(s, p, &n);
	if (err == 0 && owned)
		err = owner_read(s, p, &own);
	if (err == 0 && S_ISREG(n.st.st_mode) && !S_ISREG(own.st_mode))
		err = look_other(s, p, &n);
	if (err) {
		tree_node_clear(&n);
		return err;
	}
	n.st.st_mode = own.st_mode;
	n.st.st_uid = own.st_uid;
	n.st.st_gid = own.st_gid;
	n.st.st_rdev = own.st_rdev;
	*out = n;
	return 0;
}

int tree_look(struct store *s, const char *path, struct tree_node *out)
{
	struct place p;
	int err = place_open(s, path, &p);

	if (err)
		return err == -ENOTDIR || err == -ELOOP ? -ENOENT : err;
	err = place_look(s, &p, out);
	place_close(&p);
	return err;
}

static void gone_path(uint64_t dir, const char *name, char path[SHARD_PATH_MAX + 256])
{
	char shard[SHARD_PATH_MAX];

	shard_path("gone", dir, shard);
	snprintf(path, SHARD_PATH_MAX + 256, "%s/%s", shard, name);
}

static int gone_make(struct store *s, const char *path)
{
	int fd = openat(s->state, path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

int tree_gone_add(struct store *s, uint64_t dir, const char *name)
{
	char path[SHARD_PATH_MAX + 256], shard[SHARD_PATH_MAX];
	int err = epoch_begin(&s->epoch);

	if (err)
		return err;
	gone_path(dir, name, path);
	err = gone_make(s, path);
	if (err != -ENOENT)
		return err;
	err = shard_make(s->state, "gone", dir);
	shard_path("gone", dir, shard);
	if (err == 0 && mkdirat(s->state, shard, 0700) < 0 && errno != EEXIST)
		err = -errno;
	return err ? err : gone_make(s, path);
}

struct scanning {
	struct store *store;
	void (*found)(void *user, const char *name, uint32_t type);
	void (*gone)(void *user, const char *name);
	void *user;
};

static int scan_found(int fd, struct dirent *e, void *user)
{
	struct scanning *sc = user;
	struct tree_node n = {0};
	struct place p;
	uint32_t type = DTTOIF(e->d_type);

	if (e->d_type == DT_REG || e->d_type == DT_DIR || e->d_type == DT_UNKNOWN) {
		place_at(fd, e->d_name, &p);
		int err = place_look(sc->store, &p, &n);

		if (err && err != -EUCLEAN)
			return err == -ENOENT || err == -ESTALE ? 0 : err;
		if (err == 0) /* else it is listed, and fails when it is used */
			type = n.st.st_mode & S_IFMT;
		tree_node_clear(&n);
	}
	sc->found(sc->user, e->d_name, type);
	return 0;
}

static int scan_gone(int fd, struct dirent *e, void *user)
{
	struct scanning *sc = user;

	sc->gone(sc->user, e->d_name);
	return 0;
}

/* Without the directory there are no names. */
static int scan(int fd, entries_each each, void *user)
{
	int err = entries_foreach(fd, each, user);

	return err == -ENOENT || err == -ENOTDIR || err == -ELOOP ? 0 : err;
}

int tree_scan(struct store *s, const char *path, uint64_t dir,
              void (*found)(void *user, const char *name, uint32_t type),
              void (*gone)(void *user, const char *name), void *user)
{
	struct scanning sc = {.store = s, .found = found, .gone = gone, .user = user};
	char shard[SHARD_PATH_MAX];
	int err = scan(path_open(s->tree, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0), scan_found,
	               &sc);

	shard_path("gone", dir, shard);
	if (err == 0)
		err = scan(path_open(s->state, shard, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0),
		           scan_gone, &sc);
	return err;
}

uint64_t tree_number(struct store *s)
{
	return store_number(s);
}
