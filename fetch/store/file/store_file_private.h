/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What the files of a local file's bytes share: store_file.c, chunk.c (its chunks), recheck.c
 * (those of a dead epoch), keep.c (that it
 * counts), write.c (what is written here), dirty.c (what of that is not durable), drop.c.
 * Locking: object_private.h
 */
#pragma once
#include "fetch/store/file/store_file.h"
#include "fetch/store/object/object_private.h"

/* drop.c: the descriptor is, though it was opened whole. */
int file_writable(struct store_file *f);

/* keep.c, under `changing`: every byte is here, or just was written (`covered`), and is on the disk
 * before the record says that it is ours; `durable`: the record, too. -EAGAIN: not every byte. */
int file_localise(struct store_file *f, bool covered, bool durable);
/* One chunk that is not here: nothing, of the size that the remote one has. */
void file_uncut(struct store_file *f);

/* write.c: before a change of what follows the remote. */
int file_change_begin(struct store_file *f);
/* Of a file with a map. Under `writing`. */
int file_truncate_locked(struct store_file *f, uint64_t size);

/* chunk.c: under lock. */
/* The local file's time is the record's. */
int file_stamp_locked(struct store_file *f);
/* The last chunk is in. */
int file_finish_locked(struct store_file *f);
/* After that all is present for everybody. */
void file_shut_map_locked(struct store_file *f);
/* The record as it is with these flags and this hash, in the store's epoch. */
int file_record_locked(struct store_file *f, uint8_t flags, uint64_t hash);
/* The same, while chunks may be in doubt. */
int file_record_again_locked(struct store_file *f, uint8_t flags);
/* Record, map and names are made, if they are not. */
int file_establish_locked(struct store_file *f, uint8_t flags);
/* The map is open. */
int file_map_locked(struct store_file *f);

/* chunk.c: not under lock. */
/* 0 is none. */
uint64_t hash_stored(uint64_t hash);
/* One chunk more is there, data and hash. Of several who brought it one counts. It is whole on disk
 * before it is whole for others: then it is at once fit for passthrough. */
void file_settle(struct store_file *f, uint64_t chunk);
/* Nothing is in doubt: what is recorded holds in this epoch. */
void file_update(struct store_file *f);
/* Under `writing`. The only chunk: its hash and the mark that the file is whole are one xattr. */
int publish_single(struct store_file *f, uint64_t hash);

/* dirty.c. Marks `chunk` as about to be written in this epoch; `keep`: its hash. The map is open.
 */
int dirty_mark(struct store_file *f, uint64_t chunk, bool keep);
