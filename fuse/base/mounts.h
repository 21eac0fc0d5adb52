/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The mount table, from /proc/self/mountinfo: accesses no file system, so that a dead
 * or a hanging mount can be looked up too.
 * Source: proc(5), fs/proc_namespace.c: octal escapes of space, tab, newline, '\', '#'
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define MOUNT_TYPE "fuse.lacunafs"

struct mount {
	unsigned major, minor; /* st_dev */
	char *point;           /* owned */
	char *type;            /* owned */
	char *source;          /* owned */
	unsigned uid;          /* user_id= of a FUSE mount, 0 elsewhere */
};

/* Array of struct mount *, in the order mounted. */
GPtrArray *mounts_read(GError **error);
/* Skips malformed lines. */
GPtrArray *mounts_parse(const char *text);
/* The topmost at exactly `point` (absolute, no symbolic links); NULL: none. Borrowed. */
const struct mount *mounts_at(const GPtrArray *mounts, const char *point);
/* The lacunafs mount with that st_dev. */
const struct mount *mounts_of_device(const GPtrArray *mounts, unsigned major, unsigned minor);
/* The lacunafs mount whose root is `path`, by name, or that contains it; NULL with errno, ENOTTY
 * where there is none. */
const struct mount *mounts_of_path(const GPtrArray *mounts, const char *path);
bool mount_is_ours(const struct mount *m);
/* `path`, absolute and without symbolic links; works for a dead mount, whose root is not
 * accessed. Caller frees. */
char *mount_point_resolve(const char *path);
