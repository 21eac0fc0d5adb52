/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Other places where a file system is mounted: other paths, and mount namespaces of containers,
 * services and sandboxes, as far as /proc shows them. */
#pragma once
#include <glib.h>
#include <sys/types.h>
#include "fuse/base/mounts.h"

/* "at /x", "in the mount namespace of sh[12], sleep[34]", or both; NULL: none found. The namespace
 * of `daemon` is ignored. Caller frees. */
char *holders_of(const struct mount *m, pid_t daemon);
