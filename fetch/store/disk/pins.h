/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Pins: files that are never evicted, and directories below which none is. state/pins has one empty
 * file per pin, named by st_ino in the mount, so a pin follows renames.
 * Locking: any thread; its own lock
 * Errors:  -errno
 */
#pragma once
#include "fetch/store/disk/store.h"

/* Durable on return. Blocks on the disk. */
int store_pin(struct store *s, uint64_t ino);
int store_unpin(struct store *s, uint64_t ino); /* 0 also if it was not pinned */
bool store_is_pinned(struct store *s, uint64_t ino);
unsigned store_pins(struct store *s); /* how many */

void pins_init(struct store *s);
/* -errno where a directory could not be read: nothing may be evicted then. */
int pins_load(struct store *s);
void pins_clear(struct store *s);
