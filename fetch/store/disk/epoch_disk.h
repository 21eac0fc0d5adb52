/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A store's epoch on disk: state/epoch, and a copy of it in an xattr of state/lock.
 * Order:  the copy is never cleaner than the file: it becomes unclean before it, and clean after
 *         it. If it cannot be written it is removed
 * Values: in the machine's order here; magic and checksum are set when they are written
 * Errors: -errno
 */
#pragma once
#include "fetch/store/disk/format.h"

enum epoch_state {
	EPOCH_INTACT,
	EPOCH_FROM_COPY, /* the file is damaged or missing, its copy is not */
	EPOCH_LOST,
};

enum epoch_state epoch_disk_read(int state, struct epoch_disk *out);
/* Durably. `fd`: of state/epoch. */
int epoch_disk_write(int state, int fd, const struct epoch_disk *d);
