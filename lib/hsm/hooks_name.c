/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Names: links to an event's descriptor in /proc/self/fd, and opens by them. */
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/hsm/hooks.h"

static void file_put_back(struct file *f)
{
	sigset_t before = hsm_lock();
	file_unref(f);
	hsm_unlock(&before);
}

/* As the kernel does: cut off at `size`, without a NUL. */
static ssize_t link_tell(struct file *f, char *out, size_t size)
{
	static const char gone[] = " (deleted)";
	bool named = file_named(f);
	size_t length = strlen(f->path), part = length < size ? length : size;
	memcpy(out, f->path, part);
	if (!named) {
		size_t more = size - part < sizeof(gone) - 1 ? size - part : sizeof(gone) - 1;
		memcpy(out + part, gone, more);
		part += more;
	}
	file_put_back(f);
	return (ssize_t)part;
}

HOOK(ssize_t, hook_readlink, "readlink", (const char *path, char *out, size_t size))
{
	struct file *f = size > 0 ? file_of_path(path) : NULL;
	return f ? link_tell(f, out, size) : real()->readlink(path, out, size);
}

HOOK(ssize_t, hook_readlink_chk, "__readlink_chk",
     (const char *path, char *out, size_t size, size_t capacity))
{
	if (size > capacity)
		abort();
	return hook_readlink(path, out, size);
}

/* The file that the link leads to, relative to a directory that may be /proc/self/fd; NULL: no such
 * link. */
static struct file *file_at(int dfd, const char *path)
{
	char directory[64], whole[128];
	if (!path || path[0] == '/' || dfd == AT_FDCWD)
		return file_of_path(path);
	if (path[0] < '0' || path[0] > '9' || strlen(path) > 7)
		return NULL;
	snprintf(whole, sizeof(whole), "/proc/self/fd/%d", dfd);
	ssize_t n = real()->readlink(whole, directory, sizeof(directory) - 1);
	if (n < 0 || strncmp(directory, "/proc/", 6) != 0)
		return NULL;
	directory[n] = '\0';
	snprintf(whole, sizeof(whole), "%s/%s", directory, path);
	return file_of_path(whole);
}

HOOK(ssize_t, hook_readlinkat, "readlinkat", (int dfd, const char *path, char *out, size_t size))
{
	struct file *f = size > 0 ? file_at(dfd, path) : NULL;
	return f ? link_tell(f, out, size) : real()->readlinkat(dfd, path, out, size);
}

HOOK(ssize_t, hook_readlinkat_chk, "__readlinkat_chk",
     (int dfd, const char *path, char *out, size_t size, size_t capacity))
{
	if (size > capacity)
		abort();
	return hook_readlinkat(dfd, path, out, size);
}

HOOK(char *, hook_realpath, "realpath", (const char *path, char *out))
{
	struct file *f = file_of_path(path);
	if (!f)
		return real()->realpath(path, out);
	char *answer = real()->realpath(f->path, out);
	file_put_back(f);
	return answer;
}

HOOK(char *, hook_realpath_chk, "__realpath_chk", (const char *path, char *out, size_t capacity))
{
	if (capacity < PATH_MAX)
		abort();
	return hook_realpath(path, out);
}

HOOK(char *, hook_canonicalize, "canonicalize_file_name", (const char *path))
{
	return hook_realpath(path, NULL);
}

/* An event's file that is opened by its link is the mount's: reading it is an event. */
static int open_at(int dfd, const char *path, int flags, mode_t mode)
{
	struct file *f = flags & O_NOFOLLOW ? NULL : file_of_path(path);
	int fd = real()->openat(dfd, f ? f->path : path, flags, mode);
	if (f) {
		int error = errno;
		file_put_back(f);
		errno = error;
	}
	return fd;
}

static mode_t mode_of(int flags, va_list arguments)
{
	return flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

HOOK(int, hook_open, "open", (const char *path, int flags, ...))
{
	va_list arguments;
	va_start(arguments, flags);
	mode_t mode = mode_of(flags, arguments);
	va_end(arguments);
	return open_at(AT_FDCWD, path, flags, mode);
}
HOOK_ALSO(int, hook_open64, "open64", (const char *path, int flags, ...), "open")

HOOK(int, hook_openat, "openat", (int dfd, const char *path, int flags, ...))
{
	va_list arguments;
	va_start(arguments, flags);
	mode_t mode = mode_of(flags, arguments);
	va_end(arguments);
	return open_at(dfd, path, flags, mode);
}
HOOK_ALSO(int, hook_openat64, "openat64", (int dfd, const char *path, int flags, ...), "openat")

HOOK(int, hook_open_2, "__open_2", (const char *path, int flags))
{
	return open_at(AT_FDCWD, path, flags, 0);
}
HOOK_ALSO(int, hook_open64_2, "__open64_2", (const char *path, int flags), "__open_2")

HOOK(int, hook_openat_2, "__openat_2", (int dfd, const char *path, int flags))
{
	return open_at(dfd, path, flags, 0);
}
HOOK_ALSO(int, hook_openat64_2, "__openat64_2", (int dfd, const char *path, int flags),
          "__openat_2")
