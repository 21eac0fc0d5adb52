/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Unmounting what dead daemons left. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* Unmounts the mounts that dead daemons of the caller (for root: of any user) left at `point`, and
 * reports each on stderr. Mounts of a daemon that answers, or may still answer, stay. false: one
 * could not be unmounted. */
bool unmount_dead(const char *point, GError **error);
