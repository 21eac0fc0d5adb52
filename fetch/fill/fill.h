/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Making bytes present: who fetches what, who waits.
 *
 *        absent ──fetch──▶ fetching ──publish──▶ present
 *           ▲                  │ error: every waiter gets it
 *           └──────────────────┘
 *        doubtful ──verify──▶ present | absent        (after an unclean stop)
 *
 * Shape:   a chunk is fetched by one transfer at a time, adjacent misses by one
 *          request; a transfer may deliver more than it was asked for
 * Owns:    the engine borrows store, source, pool and clock; a content is
 *          reference counted, and a transfer under way holds a reference
 * Locking: one mutex for all transfers and waiters, never held across I/O or a
 *          callback; presence is read without it
 * Errors:  positive errno to waiters; the cause is logged once with file and
 *          range, and kept for status
 */
#pragma once
#include <sys/types.h>
#include "fetch/base/pool.h"
#include "fetch/source/base/source.h"
#include "fetch/store/file/store_file.h"

struct fill;
struct content;

struct fill_options {
	unsigned wait_ms;        /* a reader's whole wait; 0 = 30,000 */
	uint64_t prefetch_bytes; /* budget of what nobody waits for; 0 = 64 MiB */
	/* A transfer found another version at the source than the listing told. */
	void (*changed)(void *user, struct content *c);
	/* The source says that it is a directory. */
	void (*directory)(void *user, struct content *c);
	/* The last chunk is in (on a source or pool thread). */
	void (*completed)(void *user, struct content *c);
	/* Where the local file of a content is, or is to be, now: owned by the engine. NULL: as
	 * content_new() said. */
	char *(*local_path)(void *user, struct content *c);
	/* The last reference to a content is gone: `owner` is no longer pointed to. */
	void (*released)(void *user, struct content *c, void *owner);
	void *user;
};

struct fill *fill_new(struct store *store, struct source *source, struct pool *disk,
                      struct alarm_clock *clock, const struct fill_options *options);
/* Before source_close(): nothing is asked of the source from here on, what would need it
 * fails. Returns when no call to the source is under way. */
void fill_stop(struct fill *f);
/* After fill_stop(), source_close() and pool_free(): nothing is under way any more; waiters
 * have been answered. */
void fill_free(struct fill *f);

/* One regular file. `path`: where it is, or will be, in the store; `owner` is handed back
 * through content_owner(). No I/O. */
struct content *content_new(struct fill *f, const char *path, const char *remote,
                            const struct store_origin *origin, void *owner);
struct content *content_ref(struct content *c);
/* For an owner that keeps an uncounted pointer, cleared by released() under the owner's
 * lock: a reference, or false where the last one has just gone. */
bool content_try_ref(struct content *c);
void content_unref(struct content *c);
void *content_owner(const struct content *c);
/* Looks for the local file: small local I/O. 0 also where there is none yet; -errno
 * where the store is broken. Idempotent, any thread. */
int content_open(struct content *c);
/* Makes the local file count (store_file_keep()), with a name at `path`. Local I/O. `l`: has its
 * entry; NULL: nobody has. */
int content_keep(struct content *c, const char *path, struct listing *l, uint32_t index);
/* Of one that was kept, and opened: as those of store_file. */
int content_utimens(struct content *c, const struct timespec times[2]);
int content_localise(struct content *c, bool durable);
bool content_lacks(struct content *c, uint64_t offset, uint64_t length, uint64_t *from,
                   uint64_t *count);
int64_t content_change(struct content *c, uint64_t offset, uint64_t length, store_change change,
                       void *user);
int content_truncate(struct content *c, uint64_t size);
int content_sync(struct content *c, bool datasync);
/* Its local file is another content's, too, or visited: by an inode that had the same name before.
 */
bool content_shared(struct content *c);
uint64_t content_number(struct content *c); /* store_file_number(); 0: there is no file yet */
/* -EBUSY: it is, or the kernel has it open. */
int content_evict(struct content *c, uint64_t *freed);
/* Nothing remote is left of it. */
bool content_local(struct content *c);
/* The local file's O_RDWR descriptor, -1 while there is none. Stays open as long as the
 * caller's reference. */
int content_fd(struct content *c);
uint64_t content_size(const struct content *c);
const char *content_path(const struct content *c);
/* What is here of it follows that; 0: nothing is, or none is known. */
source_version content_version(struct content *c);

/* Every byte of the range present? Lock-free. Ranges past the end count as present. */
bool content_present(struct content *c, uint64_t offset, uint64_t length);
bool content_complete(struct content *c);
/* The same, and its bytes stay when it is released: they have a name in the store. */
bool content_lasts(struct content *c);

struct fill_wait { /* zeroed; the engine's, until `done` or a successful fill_cancel() */
	uint64_t offset, length;
	int64_t since_ns;          /* when the wait began; 0: now */
	struct source_cause cause; /* who waits; `owner` is the engine's to set */
	/* error: 0 or a positive errno. No lock held; may reply, may free the wait. */
	void (*done)(struct fill_wait *w, int error);
	struct content *content; /* private from here on */
	uint64_t missing;
	int64_t until_ns;
	GList link, queue_link;
	int error;
};

/* 0: all present, `done` is not called. -EINPROGRESS: `done` comes once. `ahead`: bytes
 * after the range worth fetching too (read-ahead), within the budget. */
int fill_want(struct content *c, struct fill_wait *w, uint64_t ahead);
/* true: `w` is the caller's again and `done` will not be called. false: it was or is
 * being called. */
bool fill_cancel(struct fill *f, struct fill_wait *w);
/* The whole file, for nobody in particular. false: no budget now, or nothing to do. */
bool fill_prefetch(struct content *c);

struct fill_counters {
	uint64_t bytes_fetched, chunks_fetched, chunks_verified;
	uint64_t requests, errors, waiters, transfers;
};
void fill_counters(struct fill *f, struct fill_counters *out);

/* For status: one call per transfer under way, and per waiter of it; no lock is held by
 * the time the callback runs (a snapshot). */
struct fill_transfer_info {
	const char *path;
	uint64_t offset, length, arrived;
	int64_t since_ns, retry_ns;
	unsigned attempt;
	GArray *waiters; /* of struct fill_waiter_info */
};
struct fill_waiter_info {
	pid_t pid;
	uint64_t offset, length;
	int64_t since_ns, until_ns;
};
void fill_foreach_transfer(struct fill *f, void (*fn)(const struct fill_transfer_info *, void *),
                           void *user);

struct content_info {
	uint64_t size, chunk_size, chunks, present;
	uint64_t doubtful; /* counted only where slices are asked for */
	bool local_file, complete;
	int error;        /* last failure: positive errno, 0 = none */
	char *cause;      /* its message, owned by the caller; NULL */
	int64_t error_ns; /* CLOCK_REALTIME */
	GByteArray *bar;  /* 0 absent … 255 present, per equal slice; as many as asked for */
};
void content_info(struct content *c, unsigned slices, struct content_info *out);
void content_info_clear(struct content_info *info);
/* The last failure alone, also from released(): its positive errno, 0 = none. *cause: a copy. */
int content_failure(struct content *c, char **cause, int64_t *at_ns);
