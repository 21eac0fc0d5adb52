/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Paths beneath a directory, as remote trees name their files.
 * Shape:   names between single '/', none of them empty, "." or ".."; "" is the directory
 *          itself
 * Trust:   a path comes from outside: no symlink is followed, not even inside, and nothing
 *          above the directory is reached (openat2 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
 *          where that is missing or the path too long for it, name by name)
 * Errors:  a descriptor (O_CLOEXEC) or -errno. A symlink on the way is ELOOP or ENOTDIR
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

bool path_valid(const char *path);
int path_open(int dir, const char *path, int flags, mode_t mode);
/* The directory that holds `path` (O_PATH), and the name in it (into `path`). */
int path_open_parent(int dir, const char *path, const char **name);
/* The same, and makes what is missing of it; the times of what was there stay. */
int path_make_parent(int dir, const char *path, mode_t mode, const char **name);
/* What ~ is: $HOME where it is absolute, else as the user database has it, else "/". Caller
 * frees. */
char *path_home(void);
/* What path_open() falls back to. */
int path_walk(int dir, const char *path, int flags, mode_t mode);
