/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The mount of an open file. */
#pragma once

/* *point: of the mount through which `fd` was opened; *root: the directory of the file system that
 * it shows, "/" for all of it. The caller owns both. 0 or -errno. */
int mount_of(int fd, char **point, char **root);
