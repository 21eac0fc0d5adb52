/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Reading a local directory to its end. readdir(3) will not do: in glibc and in musl it takes
 * ENOENT from the kernel for the end of the directory, which a FUSE or network file system may
 * answer in the middle of it.
 * Owns:    the descriptor
 * Errors:  -errno, also where it could be read in part only: a directory whose end was not
 *          reached is never taken for one that has ended. ENOENT: it was removed; from one that
 *          is still there it is EIO
 */
#pragma once
#include <dirent.h>

struct dirents;

/* `fd` is taken over. */
struct dirents *dirents_new(int fd);
void dirents_free(struct dirents *d);
/* Any name but "." and "..", in *e until the next call; 1. 0: the end. */
int dirents_next(struct dirents *d, struct dirent **e);
