/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One mount per directory: of several daemons that a user starts at once, one mounts,
 * and the others find its mount. The lock is a file in the user's directory of control sockets,
 * named by device and inode number of the mount point. The mount point itself cannot be locked:
 * opening an autofs trigger waits for the mount that is about to be made.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* Nothing is mounted at `point` (absolute, no symbolic links). */
bool mountpoint_is_free(const char *point, GError **error);

struct mountpoint_lock {
	char *path; /* owned; NULL: there is no lock */
	int fd;     /* owned */
};
/* Before the last check of `point`: until mountpoint_unlock() no other daemon of this user mounts
 * there. Waits for others, ten seconds at most. Without a directory for the lock nothing is
 * locked. */
bool mountpoint_lock(const char *point, struct mountpoint_lock *out, GError **error);
void mountpoint_unlock(struct mountpoint_lock *l);
