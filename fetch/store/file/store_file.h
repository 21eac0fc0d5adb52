/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The data of a local file: which chunks are present, and which of these are local.
 * Locking: presence is read without a lock, and chunks are written, published and verified side by
 *          side, each by one thread at a time (fill.c ensures that)
 * Errors:  -errno
 */
#pragma once
#include <time.h>
#include "fetch/store/object/object.h"

/* Opens an existing local file; -ENOENT where there is none, -ESTALE where the file is
 * not bound to its map (it is set aside, as if there were none). */
int store_file_open(struct store *s, const char *path, uint64_t ino, struct store_file **out);
/* Creates a file with every chunk absent, or opens an existing one. It gets its name (parents too)
 * with the first published chunk. If a foreign object has the name, the file works, but is gone
 * once it is closed. */
int store_file_create(struct store *s, const char *path, const struct store_origin *origin,
                      struct store_file **out);
void store_file_close(struct store_file *f);
/* Nothing present: removes the local file, so that a new version can take the name. Closes
 * `f`, whatever comes. */
int store_file_discard(struct store *s, const char *path, struct store_file *f);

int store_file_fd(const struct store_file *f); /* borrowed; O_RDWR, or O_RDONLY if opened whole */
uint64_t store_file_size(const struct store_file *f);
uint64_t store_file_version(const struct store_file *f);
unsigned store_file_chunk_shift(const struct store_file *f);
uint64_t store_file_chunks(const struct store_file *f);         /* 0 for an empty file */
uint64_t store_file_chunks_present(const struct store_file *f); /* trusted ones */
uint64_t store_file_chunks_between(const struct store_file *f, uint64_t from, uint64_t to);
uint64_t store_file_doubts(const struct store_file *f); /* number of doubtful chunks */
bool store_file_complete(const struct store_file *f);   /* all, trusted */
/* It has a name in the store; else it is forgotten when it is closed. */
bool store_file_lasts(const struct store_file *f);

/* Makes it count, whatever the listing says of its name: it stays at `path` and follows the
 * remote one. -EEXIST: `path` is something else's. */
int store_file_keep(struct store_file *f, const char *path, const struct store_kept *k);
/* A file that was kept before anything of it was fetched follows no version yet (0). */
int store_file_pin(struct store_file *f, uint64_t version);
/* Makes a kept file fully local: its present data is its content, and data of running transfers is
 * refused (-ECANCELED). `durable`: data, then the record, are on the disk; blocks; -EAGAIN: a
 * chunk is absent. Otherwise the caller is about to truncate the file to 0, and this does so;
 * store_file_local() tells whether the record could be written, too. */
int store_file_localise(struct store_file *f, bool durable);
/* As futimens(2), for a kept file. */
int store_file_utimens(struct store_file *f, const struct timespec times[2]);
bool store_file_kept(struct store_file *f);
/* Nothing remote is left of it. */
bool store_file_local(struct store_file *f);
/* Not all of it is, or need be, the remote's. */
bool store_file_changed(struct store_file *f);

/* Of a file that is kept: what is to be fetched before [offset, +length) can be written, one
 * chunk at a time; false: nothing. */
bool store_file_lacks(struct store_file *f, uint64_t offset, uint64_t length, uint64_t *from,
                      uint64_t *count);
/* Does what is done to the bytes [offset, +length): how many it did, or -errno. */
typedef int64_t (*store_change)(int fd, void *user);
/* Calls `change`, such that what it changes is ours from then on, and is never taken for the
 * remote's; its result. -EAGAIN: store_file_lacks() something, or it is whole: then
 * store_file_localise() comes first. Blocks on the disk. */
int64_t store_file_change(struct store_file *f, uint64_t offset, uint64_t length,
                          store_change change, void *user);
/* What is cut off never comes back. -EAGAIN: it has but one chunk, or is whole. */
int store_file_truncate(struct store_file *f, uint64_t size);
/* What was written here is on the disk, and stays ours. Blocks. */
int store_file_sync(struct store_file *f, bool datasync);
/* Gives back what can be fetched again: *freed bytes. Nobody reads it meanwhile: who opens it waits
 * for the end of this. -EBUSY: others have it open. */
int store_file_evict(struct store_file *f, uint64_t *freed);

/* For who places remote bytes [offset, +length) itself: the descriptor, until
 * store_file_give_back() by the same thread; -1: some of it was written here. */
int store_file_lend(struct store_file *f, uint64_t offset, uint64_t length);
void store_file_give_back(struct store_file *f);

/* Lock-free: every chunk in [first, last] is present and trusted. */
bool store_file_present(const struct store_file *f, uint64_t first, uint64_t last);
/* Lock-free: `chunk` has a hash but belongs to a dead epoch: verify before use. */
bool store_file_doubtful(const struct store_file *f, uint64_t chunk);
/* Compares the chunk's local bytes with its hash: 0 = the chunk is present now, -ESTALE = it is
 * absent now, else -errno of the read. Blocks on the disk. */
int store_file_verify(struct store_file *f, uint64_t chunk);
/* Data first: */
int store_file_write(struct store_file *f, uint64_t offset, const void *buffer, size_t length);
/* then the map: `hash` is XXH3-64 of the chunk's bytes. On the last chunk the file's
 * mtime is set and it is recorded complete. -errno: the chunk stays absent. */
int store_file_publish(struct store_file *f, uint64_t chunk, uint64_t hash);
