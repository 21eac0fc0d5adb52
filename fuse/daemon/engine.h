/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What serves a mount, apart from the mount: store, source, pools, tables. */
#pragma once
#include "fuse/inode/server.h"

/* Fills in *s. engine_stop() also where it failed. */
bool engine_start(struct server *s, int signals, GError **error);
/* Nothing is fetched any more, and whoever waited for it has been answered. */
void engine_cut(struct server *s);
/* What the disk's threads had to do is done. Until then a job may submit another. */
void engine_settle(struct server *s);
/* In the order in which nothing points to what is gone. */
void engine_stop(struct server *s);
