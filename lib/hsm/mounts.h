/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Where an open file is mounted. */
#pragma once

/* *point: of the mount that `fd` was opened by; *root: which directory of the file system that
 * shows, "/" for all of it. Both are the caller's. 0 or -errno. */
int mount_of(int fd, char **point, char **root);
