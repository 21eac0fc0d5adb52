/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The end of a daemon whose source does not let it go. A thread that reads from a server of NFS
 * which has died is in the kernel until that is back; whoever joins it waits as long.
 * What is lost: nothing that counts. The store takes it for a daemon that was killed: its epoch
 * lives on, and what was written is in the page cache.
 */
#pragma once
#include "fuse/inode/server.h"

struct deadman;

/* Unless disarmed in time, unmounts, lets go of the store, and ends the process with 0. */
struct deadman *deadman_arm(struct server *s);
void deadman_disarm(struct deadman *d); /* NULL: nothing */
