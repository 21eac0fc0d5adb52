/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Files with dirty chunks: written locally in this epoch, and perhaps not on the disk yet;
 * format.h.
 * Locking: any thread
 * Errors:  -errno
 */
#pragma once
#include "fetch/store/disk/store.h"

/* Makes the whole store durable. Blocks. */
int store_sync(struct store *s);
/* Makes local writes into files that follow the remote durable. Blocks. */
int store_flush(struct store *s);

void dirty_init(struct store *s);
/* Loads the dirty files of the last daemon. */
int dirty_open(struct store *s);
void dirty_close(struct store *s);
