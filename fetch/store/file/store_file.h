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

/* Is it a path of state/packs (format.h)? All others are those of the tree. */
bool store_path_is_pack(const char *path);
/* Opens an existing local file; -ENOENT where there is none, -ESTALE where the file is
 * not bound to its map (it is set aside, as if there were none). */
int store_file_open(struct store *s, const char *path, uint64_t ino, struct store_file **out);
/* Creates a file with every chunk absent, or opens an existing one. It gets its name (parents too)
 * with the first published chunk. If a foreign object has the name, the file works, but is gone
 * once it is closed. */
int store_file_create(struct store *s, const char *path, const struct store_origin *origin,
                      struct store_file **out);
void store_file_close(struct store_file *f);
/* For a file without present chunks: removes it, so that a new version can take the name. Always
 * closes `f`. */
int store_file_discard(struct store *s, const char *path, struct store_file *f);

int store_file_fd(const struct store_file *f); /* borrowed; O_RDWR, or O_RDONLY if complete */
uint64_t store_file_size(const struct store_file *f);
uint64_t store_file_version(const struct store_file *f);
unsigned store_file_chunk_shift(const struct store_file *f);
uint64_t store_file_chunks(const struct store_file *f);         /* 0 for an empty file */
uint64_t store_file_chunks_present(const struct store_file *f); /* trusted ones */
uint64_t store_file_chunks_between(const struct store_file *f, uint64_t from, uint64_t to);
uint64_t store_file_doubts(const struct store_file *f); /* number of doubtful chunks */
bool store_file_complete(const struct store_file *f);   /* all, trusted */
/* The file has a name in the store; else it is lost when it is closed. */
bool store_file_lasts(const struct store_file *f);

/* Makes the file take precedence over the listing: it stays at `path` and follows the remote
 * file. -EEXIST: another object has `path`. */
int store_file_keep(struct store_file *f, const char *path, const struct store_kept *k);
/* A file that was kept before anything of it was fetched follows no version yet (0). */
int store_file_pin(struct store_file *f, uint64_t version);
/* A file that is not kept follows version `to` instead of `from`: the present chunks in `compared`,
 * one bit each, have the same bytes in both. -EAGAIN: other chunks are present, too. -ESTALE: the
 * file is not such a one, or follows another version. */
int store_file_repin(struct store_file *f, uint64_t from, uint64_t to, const uint8_t *compared);
/* Makes a kept file fully local: its present data is its content, and data of running transfers is
 * refused (-ECANCELED). `durable`: data, then the record, are on the disk; blocks; -EAGAIN: a
 * chunk is absent. Otherwise the caller is about to truncate the file to 0, and this does so;
 * store_file_local() tells whether the record could be written, too. */
int store_file_localise(struct store_file *f, bool durable);
/* As futimens(2), for a kept file. */
int store_file_utimens(struct store_file *f, const struct timespec times[2]);
bool store_file_kept(struct store_file *f);
/* Fully local: no chunk comes from the remote any more. */
bool store_file_local(struct store_file *f);
/* The file's data differs, or may differ, from the remote's. */
bool store_file_changed(struct store_file *f);

/* For a kept file: a chunk that must be fetched before [offset, +length) can be written; false:
 * none. */
bool store_file_lacks(struct store_file *f, uint64_t offset, uint64_t length, uint64_t *from,
                      uint64_t *count);
/* Changes the bytes [offset, +length): how many it changed, or -errno. */
typedef int64_t (*store_change)(int fd, void *user);
/* Calls `change` and returns its result; the changed bytes are local from then on, never taken for
 * remote data. -EAGAIN: store_file_lacks() a chunk, or the file is complete: then
 * store_file_localise() must come first. Blocks on the disk. */
int64_t store_file_change(struct store_file *f, uint64_t offset, uint64_t length,
                          store_change change, void *user);
/* Remote data that is cut off never returns. -EAGAIN: the file has one chunk, or is complete. */
int store_file_truncate(struct store_file *f, uint64_t size);
/* Makes local writes durable. Blocks. */
int store_file_sync(struct store_file *f, bool datasync);
/* Drops cached data: *freed bytes. The file must have no readers; opens block until it is done.
 * -EBUSY: it is open elsewhere. */
int store_file_evict(struct store_file *f, uint64_t *freed);

/* Lends the descriptor to a source that writes remote bytes [offset, +length) itself, until
 * store_file_give_back() by the same thread; -1: the range has local data. */
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
/* The same for data of this version: -ESTALE where the file follows another one by now. */
int store_file_publish_version(struct store_file *f, uint64_t chunk, uint64_t hash,
                               uint64_t version);
