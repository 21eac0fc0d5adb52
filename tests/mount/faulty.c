/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Preloaded into the daemon: counts system calls that change a file system, and from one of them on
 * the disk is full, or read-only, or the daemon is killed. faults.py chooses the call.
 * Shape: FAULTS names a file of one struct faults, shared with the test
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { OFF, GROWTH, CHANGES, KILL, TEAR, SCAN, HOLD, SYNCS, HOLD_SYNCS, HOLD_MADE };

struct faults {
	uint32_t mode;
	int32_t error;
	int64_t left;   /* calls that still work */
	int64_t seen;   /* calls since it was set */
	char first[32]; /* the call that failed first */
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

/* Does this call fail? `grows`: it may take space. */
static int fails(const char *call, int grows)
{
	uint32_t mode = faults ? __atomic_load_n(&faults->mode, __ATOMIC_ACQUIRE) : OFF;

	if (mode == OFF || mode >= SCAN || (mode == GROWTH && !grows))
		return 0;
	__atomic_add_fetch(&faults->seen, 1, __ATOMIC_RELAXED);
	if (__atomic_fetch_sub(&faults->left, 1, __ATOMIC_ACQ_REL) > 0)
		return 0;
	if (faults->first[0] == '\0')
		strncpy(faults->first, call, sizeof faults->first - 1);
	if (mode == KILL || mode == TEAR)
		kill(getpid(), SIGKILL);
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

#define CALL(type, name, grows, declared, given)                                                   \
	type name declared                                                                         \
	{                                                                                          \
		static type(*real) declared;                                                       \
		if (!real)                                                                         \
			real = dlsym(RTLD_NEXT, #name);                                            \
		return fails(#name, grows) ? -1 : real given;                                      \
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
		return makes && fails(#name, 1) ? -1 : real(dir, path, flags, mode);               \
	}

OPENAT(openat)
OPENAT(openat64)

int mkdirat(int dir, const char *path, mode_t mode)
{
	static int (*real)(int, const char *, mode_t);
	if (!real)
		real = dlsym(RTLD_NEXT, "mkdirat");
	int made = fails("mkdirat", 1) ? -1 : real(dir, path, mode);
	if (made == 0)
		hold(HOLD_MADE);
	return made;
}

CALL(int, mknodat, 1, (int dir, const char *path, mode_t mode, dev_t dev), (dir, path, mode, dev))
CALL(int, symlinkat, 1, (const char *to, int dir, const char *path), (to, dir, path))
CALL(int, linkat, 1, (int from, const char *a, int to, const char *b, int flags),
     (from, a, to, b, flags))
CALL(int, renameat, 1, (int from, const char *a, int to, const char *b), (from, a, to, b))
CALL(int, renameat2, 1, (int from, const char *a, int to, const char *b, unsigned flags),
     (from, a, to, b, flags))
CALL(int, unlinkat, 0, (int dir, const char *path, int flags), (dir, path, flags))
CALL(int, fchmodat, 0, (int dir, const char *path, mode_t mode, int flags),
     (dir, path, mode, flags))
CALL(int, fchmod, 0, (int fd, mode_t mode), (fd, mode))
CALL(int, fchownat, 0, (int dir, const char *path, uid_t uid, gid_t gid, int flags),
     (dir, path, uid, gid, flags))
CALL(int, fchown, 0, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
CALL(int, utimensat, 0, (int dir, const char *path, const struct timespec times[2], int flags),
     (dir, path, times, flags))
CALL(int, futimens, 0, (int fd, const struct timespec times[2]), (fd, times))
CALL(int, lsetxattr, 1,
     (const char *path, const char *name, const void *value, size_t size, int flags),
     (path, name, value, size, flags))
CALL(int, fsetxattr, 1, (int fd, const char *name, const void *value, size_t size, int flags),
     (fd, name, value, size, flags))
CALL(int, lremovexattr, 0, (const char *path, const char *name), (path, name))
CALL(int, fremovexattr, 0, (int fd, const char *name), (fd, name))
CALL(int, ftruncate, 0, (int fd, off_t size), (fd, size))
CALL(int, ftruncate64, 0, (int fd, off64_t size), (fd, size))
CALL(int, fallocate, 1, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
CALL(int, fallocate64, 1, (int fd, int mode, off64_t at, off64_t size), (fd, mode, at, size))

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
		int step = faults && (faults->mode == KILL || faults->mode == TEAR);               \
		if ((step && fails(#name, 0)) || fails_once(#name)) {                              \
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
		return fails(#name, 1) ? -1 : real(fd, p, size, at);                               \
	}

PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
CALL(ssize_t, copy_file_range, 1,
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
	if (scan_fails())
		return -1;
	ssize_t got = real(fd, buffer, size);
	if (!faults || __atomic_load_n(&faults->mode, __ATOMIC_ACQUIRE) != SCAN)
		return got;
	if (got <= first->d_reclen || lseek(fd, first->d_off, SEEK_SET) < 0)
		return got;
	return first->d_reclen;
}
