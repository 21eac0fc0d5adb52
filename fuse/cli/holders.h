/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Where else a file system is mounted: at other places, and in the mount namespaces of containers,
 * services and sandboxes, as far as /proc shows them to us. */
#pragma once
#include <glib.h>
#include <sys/types.h>
#include "fuse/base/mounts.h"

/* "at /x", "in the mount namespace of sh[12], sleep[34]", or both; NULL: nowhere that shows. Not
 * counted: the namespace of `daemon`. Caller frees. */
char *holders_of(const struct mount *m, pid_t daemon);
