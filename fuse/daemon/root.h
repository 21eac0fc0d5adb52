/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The root of a mount, before there is a mount. */
#pragma once
#include "fuse/inode/server.h"

/* As the source and the store have it. NULL: no memory. */
struct inode *root_new(struct server *s);
/* A wrong URL or a dead server is told at mount time, not by the first `ls`. Ends early by
 * `signals` and when nobody reads from `ready_fd` any more. */
bool root_list(struct server *s, struct inode *root, int signals, int ready_fd, GError **error);
