/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Taking a mount away: of a daemon that lives, and of one that died. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* 0 or a positive errno; `said` (may be NULL where that is not wanted): what fusermount3 had to
 * say where it is not an errno; caller frees. */
int unmount(const char *point, bool lazy, char **said);
/* Takes away what dead daemons of the caller (of anybody, for root) left mounted at `point`, and
 * tells of each on stderr. A daemon that answers, or may still, is left alone. false: one could not
 * be taken away. */
bool unmount_dead(const char *point, GError **error);
