/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Serves one mount, from opening its store to its end. */
#pragma once
#include "fuse/base/confinement.h"
#include "fuse/base/settings.h"
#include "fuse/inode/exec_writes.h"
#include "fuse/keeper/keeping.h"

/* What a process finds out before it is confined. */
struct server_start {
	const struct confinement *confinement; /* borrowed */
	enum exec_writes exec_writes;
};

/* As a worker of `keeping`. Mounts, or takes over a mount; writes one byte to `ready_fd` (or closes
 * it without one on failure) when the mount answers, serves until unmounted or
 * SIGINT/SIGTERM/SIGHUP. 0, or 1 with `error`, one line. */
int server_run(const struct settings *settings, const struct server_start *start,
               const struct keeping *keeping, int ready_fd, GError **error);
