/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The fill engine fetches absent chunks, once each, and answers the requests that wait for them.
 *
 *        absent ──fetch──▶ fetching ──publish──▶ present
 *           ▲                  │ error: every waiter gets it
 *           └──────────────────┘
 *        doubtful ──verify──▶ present | absent        (after an unclean stop)
 *
 * Shape:   a chunk is fetched by one transfer at a time, adjacent misses by one
 *          request; a transfer may deliver more than requested
 * Owns:    the engine borrows store, source, pool and clock; a content is
 *          reference counted, and a transfer under way holds a reference
 * Locking: one mutex for all transfers and waiters, never held across I/O or a
 *          callback; presence is read without it
 * Errors:  positive errno to waiters; the cause is logged once with file and
 *          range, and recorded for status
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
	uint64_t prefetch_bytes; /* budget of bytes that no request waits for; 0 = 64 MiB */
	/* A transfer found a version at the source that differs from the listing's. */
	void (*changed)(void *user, struct content *c);
	/* The source reports that the file is a directory. */
	void (*directory)(void *user, struct content *c);
	/* The last chunk has become present (on a source or pool thread). */
	void (*completed)(void *user, struct content *c);
	/* The current path of a content's local file, existing or not: taken by the engine. NULL:
	 * the path of content_new(). */
	char *(*local_path)(void *user, struct content *c);
	/* A content follows another version now, whose bytes agree with all that is cached. */
	void (*rebound)(void *user, struct content *c);
	/* A handler is to be asked for absent data: the file is fetched by itself, not with its
	 * pack. NULL: never. */
	bool (*asked)(void *user, struct content *c);
	/* The last reference to a content is gone, and with it the pointer to `owner`. */
	void (*released)(void *user, struct content *c, void *owner);
	void *user;
};

struct fill *fill_new(struct store *store, struct source *source, struct pool *disk,
                      struct alarm_clock *clock, const struct fill_options *options);
/* Before source_close(): the engine calls the source no more, and fetches fail. Returns when no
 * call to the source is under way. */
void fill_stop(struct fill *f);
/* After fill_stop(), source_close() and pool_free(): no transfer is under way any more, and all
 * waiters have been answered. */
void fill_free(struct fill *f);

/* One regular file. `path`: of its local file in the store, existing or not; content_owner()
 * returns `owner`. No I/O. */
struct content *content_new(struct fill *f, const char *path, const char *remote,
                            const struct store_origin *origin, void *owner);
struct content *content_ref(struct content *c);
/* For an owner that keeps an uncounted pointer, cleared by released() under the owner's
 * lock: a reference, or false where the last one has just gone. */
bool content_try_ref(struct content *c);
void content_unref(struct content *c);
void *content_owner(const struct content *c);
/* Opens the local file if it exists: small local I/O. 0 also where there is none yet; -errno
 * where the store is broken. Idempotent, any thread. */
int content_open(struct content *c);
/* Makes the local file take precedence over the listing (store_file_keep()), named `path`. Local
 * I/O. `l`: contains its entry; NULL: no listing does. */
int content_keep(struct content *c, const char *path, struct listing *l, uint32_t index);
/* For a content that was kept and opened: as the functions of store_file. */
int content_utimens(struct content *c, const struct timespec times[2]);
int content_localise(struct content *c, bool durable);
bool content_lacks(struct content *c, uint64_t offset, uint64_t length, uint64_t *from,
                   uint64_t *count);
int64_t content_change(struct content *c, uint64_t offset, uint64_t length, store_change change,
                       void *user);
int content_truncate(struct content *c, uint64_t size);
int content_sync(struct content *c, bool datasync);
/* Another content uses the same local file, or visits it: that of an inode that had the same name
 * before. */
bool content_shared(struct content *c);
uint64_t content_number(struct content *c); /* store_file_number(); 0: no local file yet */
/* -EBUSY: content_shared(), or the kernel has the file open. */
int content_evict(struct content *c, uint64_t *freed);
/* Fully local: no chunk comes from the source any more. */
bool content_local(struct content *c);
/* The local file's O_RDWR descriptor, -1 while there is none. It stays open as long as the
 * caller holds its reference. */
int content_fd(struct content *c);
uint64_t content_size(const struct content *c);
/* The same, to read a range that was present: the file's bytes begin at *base. -EAGAIN: it was in a
 * pack, and the file has a local file now, which lacks some of the range. */
int content_read_fd(struct content *c, uint64_t offset, uint64_t length, uint64_t *base);
/* Is it read from a pack? It has no local file then. */
bool content_packed(struct content *c);
/* The version of the cached chunks; 0: no chunk is cached, or no version is known. */
source_version content_version(struct content *c);
/* The same of a file that is read from a pack; the others' as above. */
source_version content_read_version(struct content *c);
/* The store's path of a pack; caller frees. */
char *fill_pack_path(const struct source_packed *p);
/* Drops the data of a pack: *freed bytes. -EBUSY: one of its files is open. */
int fill_evict_pack(struct fill *f, const char *path, uint64_t *freed);

/* Every byte of the range present? Lock-free. Ranges past the end count as present. */
bool content_present(struct content *c, uint64_t offset, uint64_t length);
bool content_complete(struct content *c);
/* content_complete(), and the data survives the content's release: the local file has a name in
 * the store. */
bool content_lasts(struct content *c);

struct fill_wait { /* zeroed; the engine's, until `done` or a successful fill_cancel() */
	uint64_t offset, length;
	int64_t since_ns;          /* when the wait began; 0: now */
	struct source_cause cause; /* the waiting process; the engine sets `owner` */
	/* error: 0 or a positive errno. No lock held; may reply, may free the wait. */
	void (*done)(struct fill_wait *w, int error);
	bool denied;             /* for `done`: the error is a handler's errno */
	struct content *content; /* private from here on */
	uint64_t missing;
	int64_t until_ns;
	GList link, queue_link;
	int error;
};

/* 0: all present, `done` is not called. -EINPROGRESS: `done` is called once. `ahead`: bytes
 * after the range to fetch as well (readahead), within the budget. */
int fill_want(struct content *c, struct fill_wait *w, uint64_t ahead);
/* true: `w` is the caller's again and `done` will not be called. false: it was or is
 * being called. */
bool fill_cancel(struct fill *f, struct fill_wait *w);
/* Fetches the whole file, without a waiter. false: no budget now, or no absent chunk. */
bool fill_prefetch(struct content *c);

struct fill_counters {
	uint64_t bytes_fetched, chunks_fetched, chunks_verified;
	uint64_t requests, errors, waiters, transfers;
	uint64_t waits, timeouts; /* requests that waited; of these, to the end of their time */
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
	uint64_t doubtful; /* set only if slices are requested */
	bool local_file, complete;
	int error;        /* last failure: positive errno, 0 = none */
	char *cause;      /* its message, owned by the caller; NULL */
	int64_t error_ns; /* CLOCK_REALTIME */
	GByteArray *bar;  /* 0 absent … 255 present, per equal slice; `slices` of them */
};
void content_info(struct content *c, unsigned slices, struct content_info *out);
void content_info_clear(struct content_info *info);
/* The last failure alone, also from released(): its positive errno, 0 = none. *cause: a copy. */
int content_failure(struct content *c, char **cause, int64_t *at_ns);
