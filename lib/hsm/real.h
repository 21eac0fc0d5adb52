/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* libc's own functions, behind this library's hooks. All are resolved; those of an older or a
 * newer libc may be NULL. */
#pragma once
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#define REAL_FUNCTIONS(X)                                                                          \
	X(int, fanotify_init, (unsigned, unsigned))                                                \
	X(int, fanotify_mark, (int, unsigned, uint64_t, int, const char *))                        \
	X(ssize_t, read, (int, void *, size_t))                                                    \
	X(ssize_t, readv, (int, const struct iovec *, int))                                        \
	X(ssize_t, __read_chk, (int, void *, size_t, size_t))                                      \
	X(ssize_t, write, (int, const void *, size_t))                                             \
	X(ssize_t, writev, (int, const struct iovec *, int))                                       \
	X(int, poll, (struct pollfd *, nfds_t, int))                                               \
	X(int, ppoll, (struct pollfd *, nfds_t, const struct timespec *, const sigset_t *))        \
	X(int, select, (int, fd_set *, fd_set *, fd_set *, struct timeval *))                      \
	X(int, pselect,                                                                            \
	  (int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *))          \
	X(int, close, (int))                                                                       \
	X(int, close_range, (unsigned, unsigned, int))                                             \
	X(int, dup, (int))                                                                         \
	X(int, dup2, (int, int))                                                                   \
	X(int, dup3, (int, int, int))                                                              \
	X(int, fcntl, (int, int, ...))                                                             \
	X(int, ioctl, (int, unsigned long, ...))                                                   \
	X(long, syscall, (long, ...))                                                              \
	X(ssize_t, copy_file_range, (int, off_t *, int, off_t *, size_t, unsigned))                \
	X(ssize_t, readlink, (const char *, char *, size_t))                                       \
	X(ssize_t, readlinkat, (int, const char *, char *, size_t))                                \
	X(char *, realpath, (const char *, char *))                                                \
	X(int, open, (const char *, int, ...))                                                     \
	X(int, openat, (int, const char *, int, ...))                                              \
	X(int, fstat, (int, struct stat *))                                                        \
	X(int, stat, (const char *, struct stat *))                                                \
	X(int, lstat, (const char *, struct stat *))                                               \
	X(int, fstatat, (int, const char *, struct stat *, int))                                   \
	X(int, __fxstat, (int, int, struct stat *))                                                \
	X(int, __xstat, (int, const char *, struct stat *))                                        \
	X(int, __fxstatat, (int, int, const char *, struct stat *, int))                           \
	X(int, statx, (int, const char *, int, unsigned, struct statx *))                          \
	X(ssize_t, fgetxattr, (int, const char *, void *, size_t))                                 \
	X(int, fsetxattr, (int, const char *, const void *, size_t, int))                          \
	X(ssize_t, flistxattr, (int, char *, size_t))                                              \
	X(int, fremovexattr, (int, const char *))                                                  \
	X(int, futimens, (int, const struct timespec *))                                           \
	X(int, fchmod, (int, mode_t))                                                              \
	X(int, fchown, (int, uid_t, gid_t))                                                        \
	X(void, _exit, (int))

struct real {
#define REAL_MEMBER(type, name, arguments) type(*name) arguments;
	REAL_FUNCTIONS(REAL_MEMBER)
#undef REAL_MEMBER
};

/* Also before this library's constructor has run. */
const struct real *real(void);
