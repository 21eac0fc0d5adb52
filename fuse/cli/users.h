/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The processes that keep a mount busy, as far as /proc shows them. Reads names only, so
 * that a mount with a hanging daemon is not accessed. */
#pragma once
#include <glib.h>

/* Up to `max` of "comm[pid] (what)"; an array of char *. Caller unrefs. */
GPtrArray *users_of(const char *mountpoint, unsigned max);
