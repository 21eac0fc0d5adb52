/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* When local files were last used: opens and closes, since reads in passthrough are not seen. Kept
 * in state/usage (format.h) across mounts, with the counts of space.h. A file without an entry was
 * last used when it was last fetched: its ctime.
 * Shape:   st_ino of the local file → seconds since 1970; 16 to 32 bytes each, at most LRU_MAX
 *          after store_lru_trim()
 * Trust:   a hint for the eviction order; a damaged file is ignored
 * Locking: any thread; its own mutex, held across a look-up, or the making of a copy
 */
#pragma once
#include "fetch/store/disk/store.h"

#define LRU_MAX (1u << 20)

void store_lru_touch(struct store *s, uint64_t number);
uint32_t store_lru_time(struct store *s, uint64_t number); /* 0: unknown */
/* Drops the entries of the files used longest ago, beyond LRU_MAX. Milliseconds. */
void store_lru_trim(struct store *s);
/* Writes state/usage if an entry, or the store, changed. Blocks on the disk. */
int store_lru_save(struct store *s);

void lru_init(struct store *s);
/* `exact`: the counts were saved after the last change. */
void lru_load(struct store *s, bool exact);
/* Deletes state/usage: its inode numbers belong to another copy. */
void lru_drop(struct store *s);
void lru_clear(struct store *s);
