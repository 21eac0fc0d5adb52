/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What the source says of one file now, waited for.
 * Locking: blocks on the network; with no lock held, and under no claim
 * Errors:  0 or a positive errno
 */
#pragma once
#include "fuse/inode/inode.h"
#include "fuse/inode/server.h"

int inquiry_stat(struct server *s, const char *remote, struct source_stat *out);
/* Does the source give out bytes of the version that `st` tells of? Their headers are looked at,
 * nothing is taken. An empty file has none: what `st` says is all there is. */
int inquiry_read(struct server *s, struct inode *i, const char *remote,
                 const struct source_stat *st);
