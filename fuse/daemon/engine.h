/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The parts that serve a mount, without the mount itself: store, source, pools, tables. */
#pragma once
#include "fuse/inode/server.h"

/* Fills in *s. engine_stop() also where it failed. */
bool engine_start(struct server *s, int signals, GError **error);
/* Ends all fetches, and answers the requests that wait for them. */
void engine_cut(struct server *s);
/* Waits for the disk pool's jobs, which may submit others until then. */
void engine_settle(struct server *s);
/* Frees all parts, users before the parts they use. */
void engine_stop(struct server *s);
