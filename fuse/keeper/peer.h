/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The process at the other end of a connection, for a keeper that executes its program (upgrade.h).
 *
 * Identity: the kernel's pidfd of the peer (SO_PEERPIDFD, Linux 6.5); there is no fallback. A
 *           number from SO_PEERCRED may be another process's by the time /proc/PID is opened. The
 *           number comes from the pidfd, and what /proc said by it holds if the process lives
 *           afterwards
 * Accepted: the keeper's user, in the keeper's user and mount namespaces. The same user id in a
 *           container is somebody else
 */
#pragma once
#include <stdint.h>

/* A descriptor (O_PATH) of /proc/PID/exe, which the caller owns. -1: *why, static. `mount`: st_dev
 * of a file system that the program must not lie on; 0: none. */
int peer_program(int client, uint64_t mount, const char **why);
