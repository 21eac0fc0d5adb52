/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A directory as source: a slow disk, a network file system, a test.
 * Shape:   a complete tree: every type, hard links, owners, times in ns, xattrs; mount points
 *          in it are crossed. An entry's ino is a hash of device, inode
 *          number and birth time; devices other than the root's count by their number
 * Versions: device, inode, size, mtime and ctime, compared before a read, and after each
 *          piece is copied but before it is delivered: data of a file that changed meanwhile is
 *          never used. As one of several mirrors with no_etag the version that is told is size and
 *          mtime in seconds, as a web server's; the comparison after each piece stays
 * Bytes:   into `fd` by copy_file_range (which shares blocks where the file system can), holes
 *          as holes; without one through a buffer
 * Owns:    the root, opened once: a later mount over its path has no effect. One that cannot be
 *          opened is an error, but for one of several mirrors, which is opened later, and offline.
 *          An empty root of a mirror is not opened either: perhaps a mount point
 * Locking: blocking calls run on a few threads of its own; a call that hangs holds one
 * Trust:   the source follows no symlinks and opens nothing outside the root
 */
#pragma once
#include "fetch/source/base/source.h"

/* `path`: without "dir:". `options`: with every default filled in. FETCH_USAGE: not a directory. */
struct source *dir_source_open(const char *path, const struct source_options *options,
                               GError **error);
