/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What was written here and may not be on the disk yet: files of which a chunk is dirty in this
 * epoch; format.h.
 * Locking: any thread
 * Errors:  -errno
 */
#pragma once
#include "fetch/store/disk/store.h"

/* Everything of it is on the disk, for good. Blocks. */
int store_sync(struct store *s);
/* The same of what was written into files that follow the remote. */
int store_flush(struct store *s);

void dirty_init(struct store *s);
/* Which they were when the last daemon ended. */
int dirty_open(struct store *s);
void dirty_close(struct store *s);
