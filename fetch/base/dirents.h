/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Reading a local directory to its end. readdir(3) does not suffice: glibc and musl take ENOENT
 * from the kernel for the end of the directory, but a FUSE or network file system may return it
 * in the middle.
 * Owns:    the descriptor
 * Errors:  -errno, also if only a part could be read: a partial directory is never taken for a
 *          complete one. ENOENT: the directory was removed; if it still exists, ENOENT becomes EIO
 */
#pragma once
#include <dirent.h>

struct dirents;

/* Takes `fd`. */
struct dirents *dirents_new(int fd);
void dirents_free(struct dirents *d);
/* 1: a name other than "." and ".." in *e, valid until the next call. 0: the end. */
int dirents_next(struct dirents *d, struct dirent **e);
