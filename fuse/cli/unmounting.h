/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Unmounting, for a live daemon and for a dead one. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* 0 or a positive errno; `said` (may be NULL): fusermount3's message where it is not an errno;
 * caller frees. */
int unmount(const char *point, bool lazy, char **said);
/* Unmounts the mounts that dead daemons of the caller (for root: of any user) left at `point`, and
 * reports each on stderr. Mounts of a daemon that answers, or may still answer, stay. false: one
 * could not be unmounted. */
bool unmount_dead(const char *point, GError **error);
