/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* New objects of the local tree. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fetch/base/path.h"
#include "fetch/store/disk/stamp.h"
#include "fetch/store/tree/tree_private.h"

/* The mode bits of a new file; owner.c has the set-id bits. */
#define FILE_MODE 01777

/* The directory's attributes, as reported. */
static int directory_look(struct store *s, int dir, struct stat *out)
{
	struct place p;

	if (fstatat(dir, "", out, AT_EMPTY_PATH) < 0)
		return -errno;
	place_at(dir, ".", &p);
	return owner_read(s, &p, out);
}

/* Gives a new object to its maker, as a local file system would: mode and ACL from the umask and
 * the directory, the group too if the directory is set-gid. `dir`: its future directory. */
static int maker_own(struct store *s, const struct place *p, int dir, const struct tree_maker *m)
{
	struct stat st, parent;
	uint32_t gid = m->gid, mode;
	int err = directory_look(s, dir, &parent);

	if (err == 0 && fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		err = -errno;
	if (err)
		return err;
	mode = (m->mode & S_IFMT) | (st.st_mode & 07777);
	if (parent.st_mode & S_ISGID) {
		gid = parent.st_gid;
		mode |= S_ISDIR(m->mode) ? S_ISGID : 0;
	}
	if (s->privileged && st.st_uid == m->uid && st.st_gid == gid &&
	    !(S_ISREG(m->mode) && (m->mode & (S_ISUID | S_ISGID))))
		return 0;
	/* an object made for another user gets its set-id bits here */
	if (!S_ISLNK(m->mode))
		mode |= m->mode & (S_ISUID | S_ISGID);
	return owner_set(s, p, &st, mode, m->uid, gid, m->rdev);
}

/* Is a new object the maker's as soon as it exists? */
static bool maker_is_us(struct store *s, int dir, const struct tree_maker *m)
{
	struct stat parent;

	if (m->uid != geteuid() || m->gid != getegid())
		return false;
	/* set-id bits of a file are noted in its xattr */
	if (S_ISREG(m->mode) && (m->mode & (S_ISUID | S_ISGID)))
		return false;
	if (s->privileged)
		return true;
	return S_ISREG(m->mode) && (m->mode & 0600) == 0600 &&
	       directory_look(s, dir, &parent) == 0 && !(parent.st_mode & S_ISGID);
}

/* Has the directory a default ACL? An object that is made elsewhere and moved does not get it. 1, 0
 * or -errno. */
static int has_default_acl(const struct place *p)
{
	struct place dir;
	ssize_t n;

	place_at(p->dir, ".", &dir);
	n = place_getxattr(&dir, "system.posix_acl_default", NULL, 0);
	if (n < 0)
		return errno == ENODATA || errno == EOPNOTSUPP ? 0 : -errno;
	return n > 0;
}

/* No leftover of a known remote file: its record is damaged, or another file's. 1, 0 or -errno. */
static int is_doubtful(const struct place *p, int err)
{
	struct last last;
	struct stat st;

	if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISREG(st.st_mode))
		return 0;
	if (err == -ESTALE)
		return 1;
	err = last_look(p, &last);
	return err ? err : st.st_nlink == 1 && !last.file;
}

int place_clear(struct store *s, const struct place *p, const char *path)
{
	struct tree_node n;
	int err = tree_look(s, path, &n), doubtful;

	if (err == 0) {
		tree_node_clear(&n);
		return -EEXIST;
	}
	if (err != -ENOENT && err != -ESTALE)
		return err;
	doubtful = is_doubtful(p, err);
	if (doubtful)
		return doubtful < 0 ? doubtful : place_set_aside(s, p);
	if (unlinkat(p->dir, p->name, 0) == 0)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	err = place_rmdir(s, p, 0);
	return err == -ENOTEMPTY ? -EEXIST : err;
}

int make_at(struct store *s, const struct place *p, const struct tree_maker *m)
{
	dev_t rdev = makedev(m->rdev >> 20, m->rdev & 0xfffff);
	int fd;

	if (S_ISDIR(m->mode))
		return mkdirat(p->dir, p->name, m->mode & 07777) < 0 ? -errno : 0;
	if (S_ISLNK(m->mode))
		return symlinkat(m->target, p->dir, p->name) < 0 ? -errno : 0;
	if (mknodat(p->dir, p->name, m->mode, rdev) == 0)
		return 0;
	if (s->privileged || errno != EPERM)
		return -errno;
	fd = openat(p->dir, p->name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, m->mode & 0777);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

int temporary_open(struct store *s, struct place *p, char path[40])
{
	snprintf(path, 40, "/tmp/%016" PRIx64, store_number(s));
	return place_open(s, path, p);
}

int move_in(struct store *s, const struct place *from, const struct place *to, const char *path)
{
	int err;

	if (renameat2(from->dir, from->name, to->dir, to->name, RENAME_NOREPLACE) == 0)
		return 0;
	err = errno == EEXIST ? place_clear(s, to, path) : -errno;
	if (err == 0 && renameat2(from->dir, from->name, to->dir, to->name, RENAME_NOREPLACE) < 0)
		err = -errno;
	return err;
}

/* Makes a file that gets ACL and group from `dir`, under the name `p`. Returns a descriptor. */
static int make_file_aside(int dir, const struct place *p, uint32_t mode)
{
	int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode & FILE_MODE);
	char proc[40];

	if (fd < 0)
		return -errno;
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, proc, p->dir, p->name, AT_SYMLINK_FOLLOW) == 0)
		return fd;
	close(fd);
	return -errno;
}

/* An object for another user gets its name only once that user owns it: it is made elsewhere, and
 * moved. Returns a descriptor of a file, else 0. */
static int make_moved(struct store *s, const struct place *to, const char *path,
                      const struct tree_maker *m)
{
	struct place p;
	char from[40];
	int err = temporary_open(s, &p, from), fd = 0;
	mode_t before;

	if (err)
		return err;
	before = umask(m->umask);
	fd = S_ISREG(m->mode) ? make_file_aside(to->dir, &p, m->mode) : make_at(s, &p, m);
	umask(before);
	if (fd >= 0)
		err = maker_own(s, &p, to->dir, m);
	stamp_change_begin(s);
	if (fd >= 0 && err == 0)
		err = move_in(s, &p, to, path);
	stamp_change_end(s);
	if (fd >= 0 && err) {
		unlinkat(p.dir, p.name, 0);
		if (S_ISREG(m->mode))
			close(fd);
	}
	place_close(&p);
	return err ? err : fd;
}

int tree_make(struct store *s, const char *path, const struct tree_maker *m)
{
	struct place p;
	int err = epoch_begin(&s->epoch);
	mode_t before;
	bool made;
	int acl = 1;

	if (err == 0)
		err = place_make(s, path, &p);
	if (err)
		return err;
	if (!S_ISDIR(m->mode) && !maker_is_us(s, p.dir, m))
		acl = has_default_acl(&p);
	if (acl <= 0) {
		err = acl < 0 ? acl : make_moved(s, &p, path, m);
		place_close(&p);
		return err;
	}
	stamp_change_begin(s);
	before = umask(m->umask);
	err = make_at(s, &p, m);
	if (err == -EEXIST) {
		err = place_clear(s, &p, path);
		if (err == 0)
			err = make_at(s, &p, m);
	}
	umask(before);
	stamp_change_end(s);
	made = err == 0;
	if (err == 0)
		err = maker_own(s, &p, p.dir, m);
	/* last: without its mark the directory has no effect */
	if (err == 0 && S_ISDIR(m->mode))
		err = mark_write(s, p.proc, MARK_DIR_LOCAL, store_number(s));
	if (made && err)
		unlinkat(p.dir, p.name, S_ISDIR(m->mode) ? AT_REMOVEDIR : 0);
	place_close(&p);
	return err;
}

int tree_make_file(struct store *s, const char *path, const struct tree_maker *m)
{
	const int flags = O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC;
	struct place p;
	int err = epoch_begin(&s->epoch), fd;
	mode_t before;

	if (err == 0)
		err = place_make(s, path, &p);
	if (err)
		return err;
	fd = maker_is_us(s, p.dir, m) ? -EOPNOTSUPP : make_moved(s, &p, path, m);
	if (fd != -EOPNOTSUPP) {
		place_close(&p);
		return fd;
	}
	stamp_change_begin(s);
	before = umask(m->umask);
	fd = openat(p.dir, p.name, flags, m->mode & FILE_MODE);
	if (fd < 0 && errno == EEXIST) {
		err = place_clear(s, &p, path);
		if (err == 0)
			fd = openat(p.dir, p.name, flags, m->mode & FILE_MODE);
	}
	if (err == 0 && fd < 0)
		err = -errno;
	umask(before);
	stamp_change_end(s);
	if (err == 0)
		err = maker_own(s, &p, p.dir, m);
	if (fd >= 0 && err) {
		unlinkat(p.dir, p.name, 0);
		close(fd);
	}
	place_close(&p);
	return err ? err : fd;
}

/* Makes state/unlinked if it is missing. */
static int unlinked_path(struct store *s, uint64_t number, char path[40])
{
	snprintf(path, 40, "/unlinked/%016" PRIx64, number);
	return mkdirat(s->state, "unlinked", 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* Mode, ACL and group follow from the directory. */
static int nameless_in(struct store *s, const char *dir, const char *to, struct tree_maker *m)
{
	int parent = path_open(s->tree, dir, O_PATH | O_DIRECTORY, 0), fd;
	struct stat st;
	char proc[40];
	mode_t before;
	int err;

	if (parent < 0)
		return parent;
	err = directory_look(s, parent, &st);
	if (err) {
		close(parent);
		return err;
	}
	if (st.st_mode & S_ISGID)
		m->gid = st.st_gid;
	before = umask(m->umask);
	fd = openat(parent, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, m->mode & FILE_MODE);
	fd = fd < 0 ? -errno : fd;
	umask(before);
	close(parent);
	if (fd < 0)
		return fd;
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, proc, s->state, to, AT_SYMLINK_FOLLOW) == 0)
		return fd;
	close(fd);
	return -errno;
}

int tree_make_nameless(struct store *s, const char *path, const struct tree_maker *m,
                       uint64_t *number)
{
	struct tree_maker own = *m;
	uint64_t n = store_number(s);
	char to[40];
	int fd = unlinked_path(s, n, to), err = 0;
	struct place p;

	if (fd == 0)
		fd = path ? nameless_in(s, path, to + 1, &own) : -EOPNOTSUPP;
	if (fd == -EOPNOTSUPP)
		fd = tree_make_file(s, to, m);
	if (fd < 0)
		return fd;
	err = place_open(s, to, &p);
	if (err == 0) {
		err = maker_own(s, &p, p.dir, &own);
		place_close(&p);
	}
	if (err == 0) {
		*number = n;
		return fd;
	}
	unlinkat(s->state, to + 1, 0);
	close(fd);
	return err;
}
