/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Synchronous requests to the source about one file.
 * Locking: blocks on the network; with no lock held, and under no claim
 * Errors:  0 or a positive errno
 */
#pragma once
#include "fuse/inode/inode.h"
#include "fuse/inode/server.h"

/* `listed_ns`: the time of the version at hand. Of several mirrors, those after the first one must
 * have that very version: theirs may be older. 0: any. */
int inquiry_stat(struct server *s, const char *remote, int64_t listed_ns, struct source_stat *out);
/* Does the source deliver data of the version in `st`? Only the headers of the answer are used. An
 * empty file has no data: `st` suffices. */
int inquiry_read(struct server *s, struct inode *i, const char *remote,
                 const struct source_stat *st);
