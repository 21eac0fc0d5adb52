/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A directory as source: a slow disk, a network file system, a test.
 * Shape:   all of a tree: every type, hard links, owners, times in ns, xattrs; other file
 *          systems mounted in it are crossed. An entry's ino is a hash of device, inode
 *          number and birth; devices but the root's own by their number
 * Versions: device, inode, size, mtime and ctime, looked at before, and again after each
 *          piece is copied and before it is handed out: so nothing counts of a file that
 *          changed meanwhile
 * Bytes:   into `fd` by copy_file_range (which shares blocks where the file system can), holes
 *          as holes; without one through a buffer
 * Owns:    the root, opened once: what is mounted over its path later is not seen
 * Locking: blocking calls run on a few threads of its own; a call that hangs holds one
 * Trust:   symlinks are never followed by us, nothing outside the root is opened
 */
#pragma once
#include "fetch/source/base/source.h"

/* `path`: without "dir:". `options`: with every default filled in. FETCH_USAGE: there is no
 * directory. */
struct source *dir_source_open(const char *path, const struct source_options *options,
                               GError **error);
