/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Pins: files that are never evicted, and directories below which none is. state/pins has one file
 * per pin, named by st_ino in the mount, so a pin follows renames.
 * Locking: any thread; its own lock
 * Errors:  -errno
 */
#pragma once
#include "fetch/store/disk/store.h"

/* Durable on return. Blocks on the disk. `path`: where it is now, to be shown later. */
int store_pin(struct store *s, uint64_t ino, const char *path);
int store_unpin(struct store *s, uint64_t ino); /* 0 also if it was not pinned */
bool store_is_pinned(struct store *s, uint64_t ino);
unsigned store_pins(struct store *s); /* how many */
/* Calls `fn` for each, in order of numbers, without a lock; `path`: when it was pinned, "": not
 * known. Blocks on the disk. false from `fn` ends it. */
void store_pins_foreach(struct store *s, bool (*fn)(void *user, uint64_t ino, const char *path),
                        void *user);

void pins_init(struct store *s);
/* -errno where a directory could not be read: nothing may be evicted then. */
int pins_load(struct store *s);
void pins_clear(struct store *s);
