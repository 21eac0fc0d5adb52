/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* After a takeover (takeover.h) no listing is in memory. Operations on a name take the listing of
 * its directory, and those of the directories above, for given, since the kernel has looked the
 * name up: a request waits here until the store's are loaded. It then begins from the kernel's
 * message, on a thread of the disk pool.
 * Cost:    nothing before the first takeover; then a look at each directory above
 * Errors:  a listing that cannot be loaded is no error here: the operation itself reports it
 */
#pragma once
#include "fuse/inode/server.h"

/* As replay_process(), now or later. */
void relisting_process(struct server *s, const struct fuse_buf *message);
