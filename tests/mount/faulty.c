/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Preloaded into the daemon: counts system calls, and from one of them on the disk is full, or
 * read-only, or the daemon is killed; or one call fails. faults.py chooses the call.
 * Shape: FAULTS names a file of one struct faults, shared with the test
 * Calls: of the program and its libraries, by their names in libc; libc's own are not seen, so
 *        ENOMEM is that of a system call: GLib aborts where malloc fails
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>
#include "faulty_kill.h"

enum { OFF, GROWTH, CHANGES, KILL, TEAR, SCAN, HOLD, SYNCS, HOLD_SYNCS, HOLD_MADE, ONE, LASTING };

/* What a call does, which tells its errors. ALONE: no step of other modes. */
enum { CHANGE = 1, GROW = 2, LOOK = 4, OPEN = 8, FLUSH = 16, ALONE = 32 };
#define CALLS 4096

struct faults {
	uint32_t mode;
	int32_t error;
	int64_t left;         /* calls that still work */
	int64_t seen;         /* calls since it was set */
	char first[32];       /* the call that failed first */
	char store[256];      /* ONE, LASTING: calls for this directory alone */
	uint8_t kinds[CALLS]; /* ONE, LASTING: what the calls were */
};

static struct faults *faults;

__attribute__((constructor)) static void faults_map(void)
{
	const char *path = getenv("FAULTS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	faults = mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (faults == MAP_FAILED)
		faults = NULL;
}

/* Is this the call that is torn, after which there is no other? */
static int torn(void)
{
	return faults && __atomic_load_n(&faults->mode, __ATOMIC_ACQUIRE) == TEAR &&
	       __atomic_load_n(&faults->left, __ATOMIC_ACQUIRE) == 0;
}

/* Is it in the store? `dir` and `path` as for openat(2); `path` may be NULL. */
static int is_of_store(int dir, const char *path)
{
	size_t length = strlen(faults->store);
	char link[32], found[4096];
	int in;

	if (path && path[0] == '/') {
		if (sscanf(path, "/proc/self/fd/%d", &in) != 1)
			return strncmp(path, faults->store, length) == 0;
		dir = in;
	}
	snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
	return syscall(SYS_readlink, link, found, sizeof found) > (ssize_t)length &&
	       strncmp(found, faults->store, length) == 0;
}

/* May a call of that kind have this error? */
static int may_have(int kind, int error)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
		return kind & (GROW | CHANGE | FLUSH);
	case EMFILE:
		return kind & OPEN;
	case ENOMEM:
		return !(kind & FLUSH);
	default:
		return 1;
	}
}

/* ONE, LASTING: of the calls for the store that may have the error. */
static int fails_of_store(const char *call, int kind, uint32_t mode, int dir, const char *path)
{
	int before = errno;

	if (!may_have(kind, faults->error) || !is_of_store(dir, path)) {
		errno = before;
		return 0;
	}
	int64_t n = __atomic_fetch_add(&faults->seen, 1, __ATOMIC_RELAXED);
	if (n < CALLS)
		faults->kinds[n] = (uint8_t)kind;
	int64_t left = __atomic_fetch_sub(&faults->left, 1, __ATOMIC_ACQ_REL);
	errno = before;
	if (left > 0 || (mode == ONE && left < 0))
		return 0;
	if (faults->first[0] == '\0')
		strncpy(faults->first, call, sizeof faults->first - 1);
	errno = faults->error;
	return 1;
}

/* Does this call fail? `dir`, `path`: for what it is. */
static int fails(const char *call, int kind, int dir, const char *path)
{
	uint32_t mode = faults ? __atomic_load_n(&faults->mode, __ATOMIC_ACQUIRE) : OFF;

	if (mode == ONE || mode == LASTING)
		return fails_of_store(call, kind, mode, dir, path);
	if (mode == OFF || (mode >= SCAN && !ends_worker(mode, call)) || (kind & (LOOK | ALONE)) ||
	    (mode == GROWTH && !(kind & GROW)))
		return 0;
	__atomic_add_fetch(&faults->seen, 1, __ATOMIC_RELAXED);
	if (__atomic_fetch_sub(&faults->left, 1, __ATOMIC_ACQ_REL) > 0)
		return 0;
	if (faults->first[0] == '\0')
		strncpy(faults->first, call, sizeof faults->first - 1);
	if (mode == KILL_ONCE) /* what comes after this process works */
		__atomic_store_n(&faults->mode, OFF, __ATOMIC_RELEASE);
	if (mode == KILL || mode == TEAR)
		daemon_kill();
	if (mode >= KILL_ONCE)
		worker_end(mode == CRASH_SYMLINK);
	errno = faults->error;
	return 1;
}

/* Blocks while the mode is `mode`, and shows in `seen` that a thread does. */
static void hold(uint32_t mode)
{
	while (faults && __atomic_load_n(&faults->mode, __ATOMIC_ACQUIRE) == mode) {
		__atomic_store_n(&faults->seen, 1, __ATOMIC_RELEASE);
		usleep(1000);
	}
}

#define CALL(type, name, kind, dir, path, declared, given)                                         \
	type name declared                                                                         \
	{                                                                                          \
		static type(*real) declared;                                                       \
		if (!real)                                                                         \
			real = dlsym(RTLD_NEXT, #name);                                            \
		return fails(#name, kind, dir, path) ? -1 : real given;                            \
	}

#define OPENAT(name)                                                                               \
	int name(int dir, const char *path, int flags, ...)                                        \
	{                                                                                          \
		static int (*real)(int, const char *, int, ...);                                   \
		mode_t mode = 0;                                                                   \
		int makes = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY));                        \
		if (makes) {                                                                       \
			va_list list;                                                              \
			va_start(list, flags);                                                     \
			mode = va_arg(list, mode_t);                                               \
			va_end(list);                                                              \
		}                                                                                  \
		if (!real)                                                                         \
			real = dlsym(RTLD_NEXT, #name);                                            \
		return fails(#name, OPEN | (makes ? GROW : LOOK), dir, path)                       \
		               ? -1                                                                \
		               : real(dir, path, flags, mode);                                     \
	}

OPENAT(openat)
OPENAT(openat64)

#define OPENS(name)                                                                                \
	int name(const char *path, int flags, ...)                                                 \
	{                                                                                          \
		static int (*real)(const char *, int, ...);                                        \
		mode_t mode = 0;                                                                   \
		if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) {                              \
			va_list list;                                                              \
			va_start(list, flags);                                                     \
			mode = va_arg(list, mode_t);                                               \
			va_end(list);                                                              \
		}                                                                                  \
		if (!real)                                                                         \
			real = dlsym(RTLD_NEXT, #name);                                            \
		return fails(#name, OPEN | LOOK, AT_FDCWD, path) ? -1 : real(path, flags, mode);   \
	}

OPENS(open)
OPENS(open64)

int mkdirat(int dir, const char *path, mode_t mode)
{
	static int (*real)(int, const char *, mode_t);
	if (!real)
		real = dlsym(RTLD_NEXT, "mkdirat");
	int made = fails("mkdirat", GROW, dir, path) ? -1 : real(dir, path, mode);
	if (made == 0)
		hold(HOLD_MADE);
	return made;
}

CALL(int, mknodat, GROW, dir, path, (int dir, const char *path, mode_t mode, dev_t dev),
     (dir, path, mode, dev))
CALL(int, symlinkat, GROW, dir, path, (const char *to, int dir, const char *path), (to, dir, path))
CALL(int, linkat, GROW, to, b, (int from, const char *a, int to, const char *b, int flags),
     (from, a, to, b, flags))
CALL(int, renameat, GROW, to, b, (int from, const char *a, int to, const char *b), (from, a, to, b))
CALL(int, renameat2, GROW, to, b, (int from, const char *a, int to, const char *b, unsigned flags),
     (from, a, to, b, flags))
CALL(int, unlinkat, CHANGE, dir, path, (int dir, const char *path, int flags), (dir, path, flags))
CALL(int, fchmodat, CHANGE, dir, path, (int dir, const char *path, mode_t mode, int flags),
     (dir, path, mode, flags))
CALL(int, fchmod, CHANGE, fd, NULL, (int fd, mode_t mode), (fd, mode))
CALL(int, fchownat, CHANGE, dir, path, (int dir, const char *path, uid_t uid, gid_t gid, int flags),
     (dir, path, uid, gid, flags))
CALL(int, fchown, CHANGE, fd, NULL, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
CALL(int, utimensat, CHANGE, dir, path,
     (int dir, const char *path, const struct timespec times[2], int flags),
     (dir, path, times, flags))
CALL(int, futimens, CHANGE, fd, NULL, (int fd, const struct timespec times[2]), (fd, times))
CALL(int, lsetxattr, GROW, -1, path,
     (const char *path, const char *name, const void *value, size_t size, int flags),
     (path, name, value, size, flags))
CALL(int, fsetxattr, GROW, fd, NULL,
     (int fd, const char *name, const void *value, size_t size, int flags),
     (fd, name, value, size, flags))
CALL(int, lremovexattr, CHANGE, -1, path, (const char *path, const char *name), (path, name))
CALL(int, fremovexattr, CHANGE, fd, NULL, (int fd, const char *name), (fd, name))
CALL(int, ftruncate, CHANGE, fd, NULL, (int fd, off_t size), (fd, size))
CALL(int, ftruncate64, CHANGE, fd, NULL, (int fd, off64_t size), (fd, size))
CALL(int, fallocate, GROW, fd, NULL, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
CALL(int, fallocate64, GROW, fd, NULL, (int fd, int mode, off64_t at, off64_t size),
     (fd, mode, at, size))

/* Those that only look; the daemon has 64-bit offsets. */
CALL(int, fstat64, LOOK, fd, NULL, (int fd, struct stat64 *st), (fd, st))
CALL(int, fstatat, LOOK, dir, path, (int dir, const char *path, struct stat *st, int flags),
     (dir, path, st, flags))
CALL(int, fstatat64, LOOK, dir, path, (int dir, const char *path, struct stat64 *st, int flags),
     (dir, path, st, flags))
CALL(int, stat64, LOOK, -1, path, (const char *path, struct stat64 *st), (path, st))
CALL(int, lstat64, LOOK, -1, path, (const char *path, struct stat64 *st), (path, st))
CALL(int, statx, LOOK, dir, path,
     (int dir, const char *path, int flags, unsigned mask, struct statx *st),
     (dir, path, flags, mask, st))
CALL(int, fstatvfs64, LOOK, fd, NULL, (int fd, struct statvfs64 *st), (fd, st))
CALL(ssize_t, readlinkat, LOOK, dir, path, (int dir, const char *path, char *to, size_t size),
     (dir, path, to, size))
CALL(ssize_t, fgetxattr, LOOK, fd, NULL, (int fd, const char *name, void *value, size_t size),
     (fd, name, value, size))
CALL(ssize_t, lgetxattr, LOOK, -1, path,
     (const char *path, const char *name, void *value, size_t size), (path, name, value, size))
CALL(ssize_t, flistxattr, LOOK, fd, NULL, (int fd, char *list, size_t size), (fd, list, size))
CALL(ssize_t, llistxattr, LOOK, -1, path, (const char *path, char *list, size_t size),
     (path, list, size))
CALL(ssize_t, read, LOOK, fd, NULL, (int fd, void *p, size_t size), (fd, p, size))
CALL(ssize_t, pread, LOOK, fd, NULL, (int fd, void *p, size_t size, off_t at), (fd, p, size, at))
CALL(ssize_t, pread64, LOOK, fd, NULL, (int fd, void *p, size_t size, off64_t at),
     (fd, p, size, at))
CALL(ssize_t, preadv2, LOOK, fd, NULL,
     (int fd, const struct iovec *v, int count, off_t at, int flags), (fd, v, count, at, flags))
CALL(ssize_t, preadv64v2, LOOK, fd, NULL,
     (int fd, const struct iovec *v, int count, off64_t at, int flags), (fd, v, count, at, flags))
CALL(ssize_t, write, GROW | ALONE, fd, NULL, (int fd, const void *p, size_t size), (fd, p, size))
CALL(ssize_t, splice, LOOK, in, NULL,
     (int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags),
     (in, from, out, to, size, flags))
CALL(off64_t, lseek64, LOOK, fd, NULL, (int fd, off64_t at, int whence), (fd, at, whence))
CALL(int, fstatfs64, LOOK, fd, NULL, (int fd, struct statfs64 *st), (fd, st))

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset)
{
	if (fd >= 0 && fails("mmap", LOOK, fd, NULL))
		return MAP_FAILED;
	return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	return mmap64(at, size, protection, flags, fd, offset);
}

/* What libc has no name for: openat2, getxattrat, listxattrat, statx. All take a directory and a
 * path. */
long syscall(long number, ...)
{
	static long (*real)(long, ...);
	long a[6];
	va_list list;

	va_start(list, number);
	for (int n = 0; n < 6; n++)
		a[n] = va_arg(list, long);
	va_end(list);
	if (!real)
		real = dlsym(RTLD_NEXT, "syscall");
	if (number == SYS_openat2 && fails("openat2", OPEN | LOOK, (int)a[0], (char *)a[1]))
		return -1;
	if ((number == 464 || number == 465) &&
	    fails(number == 464 ? "getxattrat" : "listxattrat", LOOK, (int)a[0], (char *)a[1]))
		return -1;
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* Of the syncs, is this the one that fails? The next ones do not. */
static int fails_once(const char *call)
{
	if (!faults || __atomic_load_n(&faults->mode, __ATOMIC_ACQUIRE) != SYNCS)
		return 0;
	__atomic_add_fetch(&faults->seen, 1, __ATOMIC_RELAXED);
	if (__atomic_fetch_sub(&faults->left, 1, __ATOMIC_ACQ_REL) != 0)
		return 0;
	strncpy(faults->first, call, sizeof faults->first - 1);
	return 1;
}

/* A sync changes nothing that a reader sees: it is a step only where the daemon is killed. The
 * kernel reports an error once, and the bytes may be lost: here they are not. */
#define SYNC(name)                                                                                 \
	int name(int fd)                                                                           \
	{                                                                                          \
		static int (*real)(int);                                                           \
		if (!real)                                                                         \
			real = dlsym(RTLD_NEXT, #name);                                            \
		hold(HOLD_SYNCS);                                                                  \
		int step = faults && (faults->mode == KILL || faults->mode == TEAR ||              \
		                      faults->mode == ONE || faults->mode == LASTING);             \
		if ((step && fails(#name, FLUSH, fd, NULL)) || fails_once(#name)) {                \
			real(fd);                                                                  \
			errno = faults->error;                                                     \
			return -1;                                                                 \
		}                                                                                  \
		return real(fd);                                                                   \
	}

SYNC(fsync)
SYNC(fdatasync)
SYNC(syncfs)

#define PWRITE(name, offset)                                                                       \
	ssize_t name(int fd, const void *p, size_t size, offset at)                                \
	{                                                                                          \
		static ssize_t (*real)(int, const void *, size_t, offset);                         \
		if (!real)                                                                         \
			real = dlsym(RTLD_NEXT, #name);                                            \
		if (size > 4096 && torn()) /* a page is written whole */                           \
			real(fd, p, size / 2, at);                                                 \
		return fails(#name, GROW, fd, NULL) ? -1 : real(fd, p, size, at);                  \
	}

PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
CALL(ssize_t, copy_file_range, GROW, out, NULL,
     (int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags),
     (in, from, out, to, size, flags))

/* Fails reads of directories before their end, or blocks them until the mode changes. */
static int scan_fails(void)
{
	hold(HOLD);
	if (!faults || __atomic_load_n(&faults->mode, __ATOMIC_ACQUIRE) != SCAN)
		return 0;
	__atomic_add_fetch(&faults->seen, 1, __ATOMIC_RELAXED);
	if (__atomic_fetch_sub(&faults->left, 1, __ATOMIC_ACQ_REL) > 0)
		return 0;
	errno = faults->error;
	return 1;
}

/* One entry at a time, so that it can fail between any two. */
ssize_t getdents64(int fd, void *buffer, size_t size)
{
	static ssize_t (*real)(int, void *, size_t);
	struct dirent64 *first = buffer;

	if (!real)
		real = dlsym(RTLD_NEXT, "getdents64");
	if (scan_fails() || fails("getdents64", LOOK, fd, NULL))
		return -1;
	ssize_t got = real(fd, buffer, size);
	if (!faults || __atomic_load_n(&faults->mode, __ATOMIC_ACQUIRE) != SCAN)
		return got;
	if (got <= first->d_reclen || lseek(fd, first->d_off, SEEK_SET) < 0)
		return got;
	return first->d_reclen;
}
