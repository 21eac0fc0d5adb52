/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Ends a daemon that its source blocks. A thread that reads from a dead NFS server stays in the
 * kernel until the server is back, and a join of that thread waits as long.
 * Lost:    no data. For the store it is as if the daemon had been killed: its epoch
 *          continues, and written data is in the page cache.
 */
#pragma once
#include "fuse/inode/server.h"

struct deadman;

/* Unless disarmed in time, unmounts, unlocks the store, and ends the process with status 0. */
struct deadman *deadman_arm(struct server *s);
void deadman_disarm(struct deadman *d); /* NULL: nothing */
