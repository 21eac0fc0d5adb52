/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The helper's part of mounting (helper.h): mount(2) and umount(2), or fusermount3. libfuse prints
 * its errors instead of returning them, and fusermount3 can only print: both outputs become part of
 * the error. */
#pragma once
#include "fuse/inode/server.h"

/* Returns the connection's descriptor, which the caller owns, and sets s->device, from s->settings
 * and s->read_only. -1. *note: what was printed, NULL: nothing; caller frees. */
int mounter_mount(struct server *s, char **note, GError **error);
/* The mount s->device (0: unknown). `gone`: its connection has ended. A positive errno, EBUSY:
 * another file system is mounted over it or in its place, and stays. *note: as unmount.h; caller
 * frees. */
int mounter_unmount(struct server *s, bool gone, char **note);
