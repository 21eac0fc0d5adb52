/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by the files of store_file: store_file.c, load.c (chunk states), chunk.c (chunks),
 * recheck.c (chunks of a dead epoch), keep.c (making a file kept or local), write.c (local writes),
 * dirty.c (writes that are not durable), drop.c (eviction). Locking: object_private.h
 */
#pragma once
#include "fetch/store/file/store_file.h"
#include "fetch/store/object/object_private.h"

/* drop.c: makes the descriptor writable, though the file was opened complete. */
int file_writable(struct store_file *f);

/* keep.c, under `changing`: every byte is present, or was just written (`covered`), and reaches the
 * disk before the record says that it is local; `durable`: the record, too. -EAGAIN: bytes are
 * absent. */
int file_localise(struct store_file *f, bool covered, bool durable);
/* After a failed cut of a file of one chunk: gives it the remote size again, as a hole. */
void file_uncut(struct store_file *f);

/* write.c: before a change of chunks that follow the remote. */
int file_change_begin(struct store_file *f);
/* Of a file with a map. Under `writing`. */
int file_truncate_locked(struct store_file *f, uint64_t size) REQUIRES(f->writing);

/* chunk.c: under lock. */
/* Sets the local file's mtime to the record's. */
int file_stamp_locked(struct store_file *f) REQUIRES(f->lock);
/* The last chunk became present. */
int file_finish_locked(struct store_file *f) REQUIRES(f->lock);
/* After file_finish_locked(): the map is no longer needed. */
void file_shut_map_locked(struct store_file *f) REQUIRES(f->lock);
/* Writes the record with these flags and this hash, in the store's epoch. */
int file_record_locked(struct store_file *f, uint8_t flags, uint64_t hash) REQUIRES(f->lock);
/* The same, while chunks may be doubtful. */
int file_record_again_locked(struct store_file *f, uint8_t flags) REQUIRES(f->lock);
/* Creates record, map and names, if they are missing. */
int file_establish_locked(struct store_file *f, uint8_t flags) REQUIRES(f->lock);
/* Opens or creates the map. */
int file_map_locked(struct store_file *f) REQUIRES(f->lock);

/* chunk.c: not under lock. */
/* 0 is none. */
uint64_t hash_stored(uint64_t hash);
/* Makes `chunk` present, whose data and hash are stored. The last chunk completes the file on disk
 * before readers see it complete: it is ready for passthrough then. */
void file_settle(struct store_file *f, uint64_t chunk);
/* No chunk is doubtful any more: the record gets the current epoch. */
void file_update(struct store_file *f);
/* Under `writing`. The only chunk: its hash and the complete flag are one xattr. */
int publish_single(struct store_file *f, uint64_t hash);

/* load.c: the chunk states of a file that is being opened. -ESTALE: not bound to its map.
 * -EUCLEAN: the map is damaged, and chunks may be local. */
int file_load(struct store_file *f, const struct found *found);

/* dirty.c. Enters the file, in which chunks are dirty, in state/dirty. */
int dirty_enter(struct store_file *f);
/* dirty.c. Marks `chunk` as about to be written in this epoch; `keep`: its hash stays. The map is
 * open. */
int dirty_mark(struct store_file *f, uint64_t chunk, bool keep);
