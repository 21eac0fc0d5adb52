/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The store: the local side. STORE/tree is the local tree, STORE/state what is
 * known of it; format.h has the on-disk grammar.
 * Locking: a store is used from any thread; a store_file's presence is read
 *          without a lock, and chunks are written, published and verified side by
 *          side, each by one thread at a time (fill.c sees to that)
 * Errors:  -errno; GError (LOCAL_ERROR, message is one line for the user) in
 *          store_open()
 * Paths:   as in source.h; never followed outside STORE/tree, symlinks never
 *          followed (openat2 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
 */
#pragma once
#include <time.h>
#include "fetch/listing.h"

struct store;

struct store_settings {
	const char *source;   /* canonical, without credentials */
	unsigned chunk_shift; /* of new files: log2 of bytes; 0 = 16 (64 KiB) */
	bool end_epoch;       /* tests: treat the last session's epoch as dead */
};

/* Creates or opens. Refused with one clear line: in use by another daemon (names its
 * pid), of another source, of a newer format, not a store, no user xattrs here. */
struct store *store_open(const char *path, const struct store_settings *settings, GError **error);
/* For a process that ends at once: another may open the store. Nothing is written, nothing freed.
 */
void store_abandon(struct store *s);
/* syncfs, then the clean mark; -errno where the sync failed (the store stays unclean). */
int store_close(struct store *s);
/* The same, of a store that came to no use: if it was made by this opening it is removed again, and
 * its directory, if it was not there. */
void store_drop(struct store *s);
/* From now on who finds it in use is told EAGAIN, not EBUSY: it will be free soon. */
void store_leave(struct store *s);
/* Everything of it is on the disk, for good. Blocks. */
int store_sync(struct store *s);
/* The same of what was written into files that follow the remote. */
int store_flush(struct store *s);
/* fsync(2) or fdatasync(2) of any file of the store. A write-back error, here or in the other
 * functions, ends the epoch: until the store is opened again nothing is marked as durable, and
 * what follows the remote cannot be changed (-EIO). */
int store_sync_fd(struct store *s, int fd, bool datasync, uint32_t *seen);
/* How many syncs have failed: `seen` of who opens a file now. The kernel tells an error to every
 * descriptor that was open; who has none of his own is told by this. */
uint32_t store_sync_failures(const struct store *s);
/* Keeps some room for removals, where there is any; again after it was spent. */
void store_reserve(struct store *s);
/* The disk is full: true: there is a little room now. Blocks, since it has to be on the disk. */
bool store_reserve_spend(struct store *s);
/* A nameless file of `size`, all hole, on a file system that tells its holes. -errno. */
int store_scratch(struct store *s, uint64_t size);
int store_root_fd(const struct store *s); /* of STORE/tree, borrowed */
const char *store_path(const struct store *s);
unsigned store_chunk_shift(const struct store *s); /* of new files: log2 of bytes */
/* Does the store lie on a stacking file system (overlayfs)? */
bool store_stacked(const struct store *s);
/* How many files of it could not be told from damage, and were set aside: state/orphans. */
uint64_t store_set_aside(struct store *s);
/* The disk failed to write: store_sync_fd(). */
bool store_failed(const struct store *s);
/* Bytes used by tree and state; free bytes: for statfs and status */
int store_usage(struct store *s, uint64_t *free_bytes, uint64_t *total_bytes);

/* Directory listings, by the directory's st_ino. */
GBytes *store_listing_load(struct store *s, uint64_t ino); /* NULL: none */
int store_listing_save(struct store *s, uint64_t ino, GBytes *listing);

/* What a remote file looks like when it gets its local file. */
struct store_origin {
	uint64_t ino; /* remote identity; the key by which hard links find one another */
	uint64_t size;
	int64_t mtime_ns;
	uint64_t version; /* source_version the chunks are pinned to */
	uint32_t mode, uid, gid;
	uint32_t nlink; /* > 1: indexed by ino */
};

struct store_file;

/* What is on disk at `path` (else, by hard-link index, at `ino`): one look, no
 * descriptor kept. -ENOENT: nothing local. */
struct store_probe {
	uint64_t size;
	uint64_t version;
	int64_t mtime_ns;
	bool complete; /* every chunk present and trusted */
};
int store_probe(struct store *s, const char *path, uint64_t ino, struct store_probe *out);

/* Opens an existing local file; -ENOENT where there is none, -ESTALE where what is
 * there is not bound to its map (it is set aside, as if there were none). */
int store_file_open(struct store *s, const char *path, uint64_t ino, struct store_file **out);
/* Makes it, with every chunk absent. It gets its name (parents too) with the first chunk that
 * is published. A file that is there already is opened. Where the name is taken by something
 * that is not ours the file works, but is gone once it is closed. */
int store_file_create(struct store *s, const char *path, const struct store_origin *origin,
                      struct store_file **out);
void store_file_close(struct store_file *f);
/* Opened more than once: all have this one object, and each closes it. */
bool store_file_shared(struct store_file *f);
/* Nothing present: removes the local file, so that a new version can take the name. Closes
 * `f`, whatever comes. */
int store_file_discard(struct store *s, const char *path, struct store_file *f);

/* A new O_RDONLY descriptor of the local file, for passthrough; -ENOENT: there is none, or
 * not all of it is present and trusted. */
int store_open_readonly(struct store *s, const char *path, uint64_t ino);
int store_file_fd(const struct store_file *f); /* borrowed; O_RDWR, or O_RDONLY if opened whole */
uint64_t store_file_size(const struct store_file *f);
uint64_t store_file_version(const struct store_file *f);
int64_t store_file_mtime(const struct store_file *f);
unsigned store_file_chunk_shift(const struct store_file *f);
uint64_t store_file_chunks(const struct store_file *f);         /* 0 for an empty file */
uint64_t store_file_chunks_present(const struct store_file *f); /* trusted ones */
uint64_t store_file_chunks_between(const struct store_file *f, uint64_t from, uint64_t to);
uint64_t store_file_doubts(const struct store_file *f); /* how many to be verified */
bool store_file_complete(const struct store_file *f);   /* all, trusted */
/* It has a name in the store; else it is forgotten when it is closed. */
bool store_file_lasts(const struct store_file *f);

/* What the listing tells of an object that comes to count. */
struct store_kept {
	const char *remote;            /* its path there */
	const struct listing *listing; /* has its xattrs; NULL: none are known */
	uint32_t index;                /* of its entry */
	uint32_t nlink;
	const struct store_origin
	        *origin; /* of a file: its owner and mode; NULL: as the daemon made it */
};
/* Makes it count, whatever the listing says of its name: it stays at `path` and follows the
 * remote one. -EEXIST: `path` is something else's. */
int store_file_keep(struct store_file *f, const char *path, const struct store_kept *k);
/* A file that was kept before anything of it was fetched follows no version yet (0). */
int store_file_pin(struct store_file *f, uint64_t version);
/* Of a file that is kept: nothing remote is left of it, and all that is here is its content.
 * What a transfer still brings is refused (-ECANCELED). `durable`: data, then this, are on the
 * disk; blocks; -EAGAIN: something is absent. Otherwise it is about to be cut to nothing: what
 * lacks bytes is already, and that counts: whether it is all local store_file_local() says. */
int store_file_localise(struct store_file *f, bool durable);
/* As futimens(2); of a file that is kept. */
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
/* Reads the chunk's local bytes and compares: 0 = it is present now, -ESTALE = it is
 * absent now, else -errno of the read. Blocks on the disk. */
int store_file_verify(struct store_file *f, uint64_t chunk);
/* Data first: */
int store_file_write(struct store_file *f, uint64_t offset, const void *buffer, size_t length);
/* then the map: `hash` is XXH3-64 of the chunk's bytes. On the last chunk the file's
 * mtime is set and it is recorded complete. -errno: the chunk stays absent. */
int store_file_publish(struct store_file *f, uint64_t chunk, uint64_t hash);
