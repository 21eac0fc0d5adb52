/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Makes remote objects kept: their attributes are local from then on. */
#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fetch/base/nanoseconds.h"
#include "fetch/store/disk/stamp.h"
#include "fetch/store/tree/tree_private.h"

static int set_mtime(const struct place *p, int64_t ns)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, nanoseconds_split(ns)};

	return utimensat(p->dir, p->name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int drop_xattr(const struct place *p, const char *name)
{
	bool gone = lremovexattr(p->proc, name) == 0 || errno == ENODATA || errno == EOPNOTSUPP;

	return gone ? 0 : -errno;
}

static int give(struct store *s, const struct place *p, const struct store_kept *k)
{
	int fd = openat(p->dir, p->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = xattrs_give(s, fd, k);
	close(fd);
	return err;
}

static int keep_directory(struct store *s, struct place *p, const struct store_kept *k,
                          const struct store_origin *o)
{
	uint64_t id = store_number(s);
	struct mark_disk mark;
	struct stat st;
	int err;

	if (mkdirat(p->dir, p->name, 0755) < 0 && errno != EEXIST)
		return -errno;
	err = mark_read(p, &mark);
	if (err == 0) /* kept or local already */
		return mark.flags & MARK_DIR_LOCAL ? 0
		                                   : origin_again(s, mark.id, o->ino, k->remote);
	if (err != -ENODATA && err != -EACCES) /* EACCES: an inherited ACL */
		return err;
	/* a remote directory inherits no ACL from its local parent */
	err = drop_xattr(p, "system.posix_acl_access");
	if (err == 0)
		err = drop_xattr(p, "system.posix_acl_default");
	if (err)
		return err;
	if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	err = owner_set(s, p, &st, o->mode, o->uid, o->gid, 0);
	if (err == 0)
		err = give(s, p, k);
	/* an ACL may have left the daemon too little access */
	if (err == 0 && !s->privileged) {
		err = fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
		if (err == 0)
			err = owner_set(s, p, &st, o->mode, o->uid, o->gid, 0);
	}
	if (err == 0)
		err = set_mtime(p, o->mtime_ns);
	if (err == 0)
		err = origin_write(s, id, o->ino, k->remote);
	if (err)
		return err;
	err = mark_write(s, p->proc, MARK_DIR_KEPT, id);
	if (err)
		origin_remove(s, id);
	return err;
}

/* An object that can carry no mark is kept as soon as it has its name: it is made elsewhere, and
 * moved. */
static int keep_other(struct store *s, const struct place *to, const char *path,
                      const struct store_kept *k, const struct store_origin *o,
                      const struct tree_maker *m)
{
	struct stat st;
	struct place p;
	char from[40];
	uint64_t key = 0;
	int err = temporary_open(s, &p, from);

	if (err)
		return err;
	err = make_at(s, &p, m);
	if (err) {
		place_close(&p);
		return err;
	}
	if (fstatat(p.dir, p.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		err = -errno;
	if (err == 0)
		err = owner_set(s, &p, &st, o->mode, o->uid, o->gid, m->rdev);
	if (err == -EPERM && S_ISLNK(o->mode))
		err = 0; /* its owner is the mount's from here on */
	if (err == 0)
		err = origin_key(p.dir, p.name, &key);
	if (err == 0 && S_ISREG(st.st_mode))
		err = give(s, &p, k);
	if (err == 0) {
		origin_remove(s, key); /* a leftover of a crash, if birth times are unknown */
		err = origin_write(s, key, o->ino, k->remote);
	}
	if (err == 0) {
		err = set_mtime(&p, o->mtime_ns);
		if (err == 0)
			err = move_in(s, &p, to, path);
		if (err)
			origin_remove(s, key);
	}
	if (err)
		unlinkat(p.dir, p.name, 0);
	place_close(&p);
	return err == -EEXIST ? 0 : err; /* kept or local already */
}

int tree_keep(struct store *s, const char *path, const struct store_kept *k,
              const struct store_origin *o, const char *target, uint32_t rdev)
{
	struct tree_maker m = {
	        .uid = o->uid,
	        .gid = o->gid,
	        .mode = o->mode,
	        .rdev = rdev,
	        .target = target,
	};
	struct stamp stamp;
	struct place p;
	int err = epoch_begin(&s->epoch);

	if (err == 0)
		err = place_make(s, path, &p);
	if (err)
		return err;
	stamp_begin(s, p.dir, &stamp);
	err = S_ISDIR(o->mode) ? keep_directory(s, &p, k, o) : keep_other(s, &p, path, k, o, &m);
	stamp_end(s, &stamp);
	place_close(&p);
	return err;
}
