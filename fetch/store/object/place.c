/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The place of an object in the local tree, and its xattrs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fetch/base/path.h"
#include "fetch/store/object/object_private.h"

#ifndef SYS_getxattrat
#define SYS_getxattrat 464
#define SYS_listxattrat 465
#endif

void place_at(int dir, const char *name, struct place *out)
{
	out->dir = dir;
	out->name = name;
	snprintf(out->proc, sizeof out->proc, "/proc/self/fd/%d/%s", dir, name);
}

static int place_named(int dir, const char *name, struct place *out)
{
	if (dir < 0)
		return dir;
	place_at(dir, name, out);
	return 0;
}

int place_open(struct store *s, const char *path, struct place *out)
{
	const char *name = ".";
	int dir;

	if (path[0] == '\0')
		dir = path_open(s->tree, "", O_PATH | O_DIRECTORY, 0);
	else if (path[0] == '/')
		dir = path_open_parent(s->state, path + 1, &name);
	else
		dir = path_open_parent(s->tree, path, &name);
	return place_named(dir, name, out);
}

int place_make(struct store *s, const char *path, struct place *out)
{
	const char *name = ".";
	int dir;

	if (path[0] == '\0' || path[0] == '/')
		return place_open(s, path, out);
	dir = name_place(s, path, &name);
	return place_named(dir, name, out);
}

void place_close(struct place *p)
{
	close(p->dir);
}

/* Linux 6.13 has xattr calls relative to a directory: 3.5 us instead of 8 by a path in /proc. */
static bool is_unknown(void)
{
	return errno == ENOSYS || errno == EPERM; /* EPERM: an old container runtime's ENOSYS */
}

ssize_t place_getxattr(const struct place *p, const char *name, void *value, size_t size)
{
	struct {
		uint64_t value;
		uint32_t size, flags;
	} args = {.value = (uintptr_t)value, .size = (uint32_t)size};
	ssize_t n = syscall(SYS_getxattrat, p->dir, p->name, AT_SYMLINK_NOFOLLOW, name, &args,
	                    sizeof args);

	return n < 0 && is_unknown() ? lgetxattr(p->proc, name, value, size) : n;
}

bool xattr_is_absent(int error)
{
	return error == ENODATA || error == EOPNOTSUPP || error == ERANGE || error == EACCES;
}

int place_xattr(const struct place *p, const char *name, void *value, size_t size)
{
	ssize_t n = place_getxattr(p, name, value, size);

	if (n < 0)
		return xattr_is_absent(errno) ? 0 : -errno;
	return n == (ssize_t)size;
}

ssize_t place_listxattr(const struct place *p, char *list, size_t size)
{
	ssize_t n = syscall(SYS_listxattrat, p->dir, p->name, AT_SYMLINK_NOFOLLOW, list, size);

	return n < 0 && is_unknown() ? llistxattr(p->proc, list, size) : n;
}

void place_names(const struct place *p, struct xattr_names *out)
{
	out->length = place_listxattr(p, out->list, sizeof out->list);
}

bool xattr_names_have(const struct xattr_names *names, const char *name)
{
	if (names->length < 0)
		return true;
	for (const char *n = names->list; n < names->list + names->length; n += strlen(n) + 1)
		if (strcmp(n, name) == 0)
			return true;
	return false;
}
