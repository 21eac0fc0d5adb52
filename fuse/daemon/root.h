/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The root directory of a mount, before mounting. */
#pragma once
#include "fuse/inode/server.h"

/* The root inode, from source and store. NULL: no memory. */
struct inode *root_new(struct server *s);
/* Lists the root, so that a wrong URL or a dead server is an error at mount time, not at the first
 * `ls`. Ends early on `signals` and when the reader of `ready_fd` is gone. */
bool root_list(struct server *s, struct inode *root, int signals, int ready_fd, GError **error);
