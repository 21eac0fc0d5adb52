/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/path.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int openat2_missing; /* atomic: ENOSYS came once */

/* Length of the name at `p`. */
static size_t name_length(const char *p)
{
	return strchrnul(p, '/') - p;
}

static bool name_valid(const char *name, size_t length)
{
	if (length == 0 || length > NAME_MAX)
		return false;
	return !(name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.')));
}

bool path_valid(const char *path)
{
	if (path[0] == '\0')
		return true;
	for (;;) {
		size_t length = name_length(path);

		if (!name_valid(path, length))
			return false;
		path += length;
		if (*path++ == '\0')
			return true;
	}
}

/* Makes the directory `name` in `at`, whose mtime stays. */
static int step_make(int at, const char *name, mode_t mode)
{
	struct stat st;
	bool known = fstatat(at, ".", &st, 0) == 0;

	if (mkdirat(at, name, mode) < 0)
		return errno == EEXIST ? 0 : -errno;
	if (known)
		utimensat(at, ".", (struct timespec[]){{.tv_nsec = UTIME_OMIT}, st.st_mtim}, 0);
	return 0;
}

static int step_down(int at, int dir, const char *p, size_t length, bool make, mode_t mode)
{
	char name[NAME_MAX + 1];
	int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, fd;

	memcpy(name, p, length);
	name[length] = '\0';
	fd = openat(at, name, flags);
	fd = fd < 0 ? -errno : fd;
	if (fd == -ENOENT && make && (fd = step_make(at, name, mode)) == 0) {
		fd = openat(at, name, flags);
		fd = fd < 0 ? -errno : fd;
	}
	if (at != dir)
		close(at);
	return fd;
}

/* Opens the directory of the last name; *last: that name. */
static int walk_to_parent(int dir, const char *path, bool make, mode_t mode, const char **last)
{
	int at = dir;

	for (;;) {
		size_t length = name_length(path);

		if (path[length] == '\0')
			break;
		at = step_down(at, dir, path, length, make, mode);
		if (at < 0)
			return at;
		path += length + 1;
	}
	*last = path;
	if (at != dir)
		return at;
	at = openat(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return at < 0 ? -errno : at;
}

int path_walk(int dir, const char *path, int flags, mode_t mode)
{
	const char *name;
	int parent, fd;

	if (!path_valid(path))
		return -EINVAL;
	parent = walk_to_parent(dir, path, false, 0, &name);
	if (parent < 0)
		return parent;
	fd = openat(parent, *name ? name : ".", flags | O_NOFOLLOW | O_CLOEXEC, mode);
	fd = fd < 0 ? -errno : fd;
	close(parent);
	return fd;
}

int path_open(int dir, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
	        .flags = (uint32_t)(flags | O_CLOEXEC),
	        /* else it must be 0 */
	        .mode = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? mode : 0,
	        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd;

	if (!path_valid(path))
		return -EINVAL;
	if (__atomic_load_n(&openat2_missing, __ATOMIC_RELAXED))
		return path_walk(dir, path, flags, mode);
	do
		fd = (int)syscall(SYS_openat2, dir, *path ? path : ".", &how, sizeof how);
	while (fd < 0 && (errno == EAGAIN || errno == EINTR));
	if (fd >= 0)
		return fd;
	if (errno == ENOSYS)
		__atomic_store_n(&openat2_missing, 1, __ATOMIC_RELAXED);
	/* EPERM: perhaps a seccomp filter of a container that knows no openat2 */
	if (errno == ENOSYS || errno == EPERM || errno == ENAMETOOLONG)
		return path_walk(dir, path, flags, mode);
	return -errno;
}

int path_open_parent(int dir, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX];
	int fd;

	if (path[0] == '\0' || !path_valid(path))
		return -EINVAL;
	if (slash && slash - path >= PATH_MAX)
		return walk_to_parent(dir, path, false, 0, name);
	memcpy(parent, path, slash ? slash - path : 0);
	parent[slash ? slash - path : 0] = '\0';
	fd = path_open(dir, parent, O_PATH | O_DIRECTORY, 0);
	if (fd >= 0)
		*name = slash ? slash + 1 : path;
	return fd;
}

int path_make_parent(int dir, const char *path, mode_t mode, const char **name)
{
	int fd = path_open_parent(dir, path, name);

	return fd == -ENOENT ? walk_to_parent(dir, path, true, mode, name) : fd;
}

char *path_home(void)
{
	const char *home = g_getenv("HOME");
	struct passwd user, *found = NULL;
	char text[16384];

	if (home == NULL || home[0] != '/')
		home = getpwuid_r(getuid(), &user, text, sizeof text, &found) == 0 && found
		               ? found->pw_dir
		               : NULL;
	return g_strdup(home && home[0] == '/' ? home : "/");
}

char *path_absolute(const char *path)
{
	/* g_get_current_dir() alone would say "/" of a directory that was removed */
	char *real = path[0] == '/' ? NULL : getcwd(NULL, 0);
	if (path[0] != '/' && !real)
		return NULL;
	g_autofree char *cwd = real ? g_get_current_dir() : NULL; /* by its name in $PWD */
	free(real);
	return cwd ? g_build_filename(cwd, path, NULL) : g_strdup(path);
}
