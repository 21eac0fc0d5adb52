/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One mount at one directory: of several daemons of a user that are started at once, one mounts,
 * and the others find that it did. The lock is a file in the user's directory of control sockets,
 * named by the directory's device and number. The directory itself cannot carry it: opening an
 * autofs trigger waits for the mount that is about to be made.
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
/* Before the last look at it: until mountpoint_unlock() nobody else of this user mounts there.
 * Waits for others, ten seconds at most. Without a directory for it nothing is locked. */
bool mountpoint_lock(const char *point, struct mountpoint_lock *out, GError **error);
void mountpoint_unlock(struct mountpoint_lock *l);
