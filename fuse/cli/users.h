/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Which processes hold a mount busy, as far as /proc shows them to us. Reads names only, so
 * that a mount whose daemon hangs is not asked. */
#pragma once
#include <glib.h>

/* Up to `max` of "comm[pid] (what)"; an array of char *. Caller unrefs. */
GPtrArray *users_of(const char *mountpoint, unsigned max);
