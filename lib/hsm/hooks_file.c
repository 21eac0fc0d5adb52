/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Calls that read and change the attributes of an event's file by its descriptor; and copying to
 * it, which crosses file systems where a program may not expect it. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "lib/hsm/hooks.h"

static void file_put_back(struct file *f)
{
	int error = errno;
	sigset_t before = hsm_lock();
	file_unref(f);
	hsm_unlock(&before);
	errno = error;
}

static int tell(struct file *f, int fd, struct stat *st)
{
	int r = file_stat(f, fd, st);
	file_put_back(f);
	return (int)hook_return(r);
}

HOOK(int, hook_fstat, "fstat", (int fd, struct stat *st))
{
	struct file *f = file_of(fd);
	if (f)
		return tell(f, fd, st);
	return real()->fstat ? real()->fstat(fd, st) : real()->__fxstat(1, fd, st);
}
HOOK_ALSO(int, hook_fstat64, "fstat64", (int fd, struct stat *st), "fstat")

HOOK(int, hook_fxstat, "__fxstat", (int version, int fd, struct stat *st))
{
	struct file *f = file_of(fd);
	return f ? tell(f, fd, st) : real()->__fxstat(version, fd, st);
}
HOOK_ALSO(int, hook_fxstat64, "__fxstat64", (int version, int fd, struct stat *st), "__fxstat")

HOOK(int, hook_stat, "stat", (const char *path, struct stat *st))
{
	struct file *f = file_of_path(path);
	if (f)
		return tell(f, -1, st);
	return real()->stat ? real()->stat(path, st) : real()->__xstat(1, path, st);
}
HOOK_ALSO(int, hook_stat64, "stat64", (const char *path, struct stat *st), "stat")

HOOK(int, hook_xstat, "__xstat", (int version, const char *path, struct stat *st))
{
	struct file *f = file_of_path(path);
	return f ? tell(f, -1, st) : real()->__xstat(version, path, st);
}
HOOK_ALSO(int, hook_xstat64, "__xstat64", (int version, const char *path, struct stat *st),
          "__xstat")

/* The file of the descriptor itself, or of the link to it. */
static struct file *file_at(int fd, const char *path, int flags, bool *itself)
{
	*itself = flags & AT_EMPTY_PATH && (!path || !*path);
	if (*itself)
		return file_of(fd);
	return flags & AT_SYMLINK_NOFOLLOW ? NULL : file_of_path(path);
}

HOOK(int, hook_fstatat, "fstatat", (int fd, const char *path, struct stat *st, int flags))
{
	bool itself;
	struct file *f = file_at(fd, path, flags, &itself);
	if (f)
		return tell(f, itself ? fd : -1, st);
	return real()->fstatat ? real()->fstatat(fd, path, st, flags)
	                       : real()->__fxstatat(1, fd, path, st, flags);
}
HOOK_ALSO(int, hook_fstatat64, "fstatat64", (int fd, const char *path, struct stat *st, int flags),
          "fstatat")

HOOK(int, hook_fxstatat, "__fxstatat",
     (int version, int fd, const char *path, struct stat *st, int flags))
{
	bool itself;
	struct file *f = file_at(fd, path, flags, &itself);
	return f ? tell(f, itself ? fd : -1, st) : real()->__fxstatat(version, fd, path, st, flags);
}
HOOK_ALSO(int, hook_fxstatat64, "__fxstatat64",
          (int version, int fd, const char *path, struct stat *st, int flags), "__fxstatat")

HOOK(int, hook_statx, "statx",
     (int fd, const char *path, int flags, unsigned mask, struct statx *st))
{
	bool itself;
	struct stat plain;
	struct file *f = file_at(fd, path, flags, &itself);
	if (!f)
		return real()->statx(fd, path, flags, mask, st);
	int r = file_stat(f, itself ? fd : -1, &plain);
	if (r == 0 && real()->statx(AT_FDCWD, f->path, AT_SYMLINK_NOFOLLOW, mask, st) != 0)
		r = -errno;
	if (r == 0 && mask & STATX_BLOCKS)
		st->stx_blocks = (uint64_t)plain.st_blocks;
	file_put_back(f);
	return (int)hook_return(r);
}

HOOK(ssize_t, hook_fgetxattr, "fgetxattr", (int fd, const char *name, void *value, size_t size))
{
	struct file *f = file_of(fd);
	if (!f)
		return real()->fgetxattr(fd, name, value, size);
	ssize_t r = lgetxattr(f->path, name, value, size);
	file_put_back(f);
	return r;
}

/* Changes the file by its path; f->locked: the call would wait for itself. */
#define CHANGE(f, call)                                                                            \
	{                                                                                          \
		int r = -1;                                                                        \
		if (f->locked)                                                                     \
			errno = EDEADLK;                                                           \
		else                                                                               \
			r = call;                                                                  \
		file_put_back(f);                                                                  \
		return r;                                                                          \
	}

HOOK(int, hook_fsetxattr, "fsetxattr",
     (int fd, const char *name, const void *value, size_t size, int flags))
{
	struct file *f = file_of(fd);
	if (!f)
		return real()->fsetxattr(fd, name, value, size, flags);
	CHANGE(f, lsetxattr(f->path, name, value, size, flags))
}

HOOK(int, hook_futimens, "futimens", (int fd, const struct timespec *times))
{
	struct file *f = file_of(fd);
	if (!f)
		return real()->futimens(fd, times);
	CHANGE(f, utimensat(AT_FDCWD, f->path, times, AT_SYMLINK_NOFOLLOW))
}

HOOK(int, hook_fchmod, "fchmod", (int fd, mode_t mode))
{
	struct file *f = file_of(fd);
	if (!f)
		return real()->fchmod(fd, mode);
	CHANGE(f, chmod(f->path, mode))
}

HOOK(int, hook_fchown, "fchown", (int fd, uid_t user, gid_t group))
{
	struct file *f = file_of(fd);
	if (!f)
		return real()->fchown(fd, user, group);
	CHANGE(f, lchown(f->path, user, group))
}

HOOK(ssize_t, hook_flistxattr, "flistxattr", (int fd, char *list, size_t size))
{
	struct file *f = file_of(fd);
	if (!f)
		return real()->flistxattr(fd, list, size);
	ssize_t r = llistxattr(f->path, list, size);
	file_put_back(f);
	return r;
}

HOOK(int, hook_fremovexattr, "fremovexattr", (int fd, const char *name))
{
	struct file *f = file_of(fd);
	if (!f)
		return real()->fremovexattr(fd, name);
	CHANGE(f, lremovexattr(f->path, name))
}

/* Does as copy_file_range() between two files of one file system. */
static ssize_t copy(int in, off_t *in_at, int out, off_t *out_at, size_t length)
{
	enum { PIECE = 1 << 20 };
	size_t size = length < PIECE ? length : PIECE, done = 0;
	char *buffer = malloc(size ? size : 1);
	ssize_t n = buffer ? 1 : -1;
	while (n > 0 && done < length) {
		size_t want = length - done < size ? length - done : size;
		n = in_at ? pread(in, buffer, want, *in_at) : real()->read(in, buffer, want);
		for (ssize_t at = 0, w; n > 0 && at < n; at += w) {
			size_t left = (size_t)(n - at);
			w = out_at ? pwrite(out, buffer + at, left, *out_at + at)
			           : real()->write(out, buffer + at, left);
			if (w <= 0)
				n = -1;
		}
		if (n <= 0)
			break;
		done += (size_t)n;
		if (in_at)
			*in_at += n;
		if (out_at)
			*out_at += n;
	}
	free(buffer);
	return n < 0 && done == 0 ? -1 : (ssize_t)done;
}

HOOK(ssize_t, hook_copy_file_range, "copy_file_range",
     (int in, off_t *in_at, int out, off_t *out_at, size_t length, unsigned flags))
{
	ssize_t n = real()->copy_file_range(in, in_at, out, out_at, length, flags);
	if (n >= 0 || flags || (errno != EXDEV && errno != EOPNOTSUPP && errno != EINVAL))
		return n;
	struct file *f = file_of(out);
	if (!f)
		return n;
	file_put_back(f);
	return copy(in, in_at, out, out_at, length);
}
HOOK_ALSO(ssize_t, hook_copy_file_range64, "copy_file_range64",
          (int in, off_t *in_at, int out, off_t *out_at, size_t length, unsigned flags),
          "copy_file_range")
