/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The store: the local side. STORE/tree is the local tree, STORE/state its metadata;
 * format.h has the on-disk grammar. opening.h opens one, object.h and store_file.h are its files,
 * tree.h its names.
 * Locking: a store is used from any thread
 * Errors:  -errno
 * Paths:   as in source.h; never followed outside STORE/tree, symlinks never followed (openat2
 *          RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct store;

/* fsync(2) or fdatasync(2) of any file of the store. A write-back error, here or in the other
 * functions, ends the epoch: until the store is opened again nothing is marked as durable, and
 * files that follow the remote cannot be changed (-EIO). */
int store_sync_fd(struct store *s, int fd, bool datasync, uint32_t *seen);
/* The number of failed syncs: `seen` of a file opened now. The kernel reports an error to every
 * open descriptor; this reports it to users that share one. */
uint32_t store_sync_failures(const struct store *s);
/* Reserves some disk space for removals, if there is any; again after it was spent. */
void store_reserve(struct store *s);
/* On a full disk: true: some space is free now. Blocks until that is on the disk. */
bool store_reserve_spend(struct store *s);
/* A nameless file of `size`, all hole, on a file system that reports holes. -errno. */
int store_scratch(struct store *s, uint64_t size);
int store_root_fd(const struct store *s); /* of STORE/tree, borrowed */
const char *store_path(const struct store *s);
unsigned store_chunk_shift(const struct store *s); /* of new files: log2 of bytes */
/* Does the store lie on a stacking file system (overlayfs)? */
bool store_stacked(const struct store *s);
/* A write-back error was seen: store_sync_fd(). */
bool store_failed(const struct store *s);
/* Bytes used by tree and state; free bytes: for statfs and status */
int store_usage(struct store *s, uint64_t *free_bytes, uint64_t *total_bytes);

/* Directory listings, by the directory's st_ino. */
GBytes *store_listing_load(struct store *s, uint64_t ino); /* NULL: none */
/* -EUCLEAN: it is another directory's, or no file. */
int store_listing_read(struct store *s, uint64_t ino, GBytes **out);
int store_listing_save(struct store *s, uint64_t ino, GBytes *listing);
void store_listing_drop(struct store *s, uint64_t ino);
