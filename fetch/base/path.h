/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Paths beneath a directory, as remote trees name their files.
 * Shape:   names between single '/', none of them empty, "." or ".."; "" is the directory
 *          itself
 * Trust:   a path comes from outside: no symlink is followed, not even inside, and no path
 *          leaves the directory (openat2 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
 *          where that is missing or the path too long for it, name by name)
 * Errors:  a descriptor (O_CLOEXEC) or -errno. A symlink on the way is ELOOP or ENOTDIR
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

bool path_valid(const char *path);
int path_open(int dir, const char *path, int flags, mode_t mode);
/* The parent directory of `path` (O_PATH), and the name in it (into `path`). */
int path_open_parent(int dir, const char *path, const char **name);
/* The same, creating missing directories; the times of existing ones stay. */
int path_make_parent(int dir, const char *path, mode_t mode, const char **name);
/* The home directory: $HOME if it is absolute, else that of the user database, else "/". Caller
 * frees. */
char *path_home(void);
/* `path` as it is, if absolute, else in the current directory; NULL with errno: that was removed.
 * Caller frees. */
char *path_absolute(const char *path);
/* path_open() without openat2. */
int path_walk(int dir, const char *path, int flags, mode_t mode);
