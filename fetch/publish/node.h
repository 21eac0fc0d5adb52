/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One name of the tree being published: what is recorded of it.
 * Errors: LOCAL_ERROR, with the path
 */
#pragma once
#include <glib.h>
#include <linux/limits.h>
#include <sys/stat.h>
#include "fetch/publish/spill.h"

#define NODE_STATX (STATX_BASIC_STATS)

/* false: with the errno's error, which names `path`. */
bool node_fail(GError **error, const char *path, int code);
/* The attributes of `st`, without a place. */
void node_inode(const struct statx *st, const char *path, struct spill_inode *out);
/* The same file, in the same version? */
bool node_same(const struct spill_entry *e, const struct statx *st);
/* A symlink's target, NUL-terminated. */
bool node_target(int fd, const char *name, const char *path, char target[PATH_MAX], size_t *size,
                 GError **error);
/* Sets the chunk bits of a file (in i->data), and its runs of chunks that have data. */
bool node_chunks(int fd, const char *name, const char *path, const struct statx *st,
                 struct spill_inode *i, GArray *runs, GError **error);
