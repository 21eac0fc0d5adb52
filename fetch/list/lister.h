/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The lister fetches and revalidates listings, and answers the requests that wait for them.
 *
 *        unlisted ──load from store──▶ listed ──ttl──▶ stale ──conditional──▶ listed
 *            └──────ask the source───────┘               └─ unreachable: stays, and is
 *                                                           asked again after a while
 * Shape:   one request per directory at a time; a listing is replaced as a whole. An empty listing
 *          of a directory that was not empty, and a listed directory that is missing, are believed
 *          when the source reports them twice
 * Owns:    borrows store, source, pool, clock; a directory holds its listing
 * Locking: one mutex, never held across I/O or a callback
 * Errors:  positive errno to waiters; logged once. ELOOP: in a `cyclic` source, a directory that
 *          repeats one above it
 */
#pragma once
#include <sys/types.h>
#include "fetch/base/pool.h"
#include "fetch/source/base/source.h"
#include "fetch/store/disk/store.h"

struct lister;
struct directory;

/* VANISHED_ASK: undecided; the source's listing of the parent directory decides. */
enum vanished { VANISHED_NOT, VANISHED, VANISHED_ASK };

struct lister_options {
	unsigned wait_ms; /* 0 = 30,000 */
	/* Lifetime of a listing; UINT_MAX = unlimited; 0 = none: each wait is answered by a source
	 * request that began after the wait did */
	unsigned ttl_ms;
	/* The listing changed; runs before waiters get it. `before` may be NULL. */
	void (*changed)(void *user, struct directory *d, struct listing *before,
	                struct listing *after);
	/* So much waits to be told to the kernel that listings are not refreshed; NULL: never. No
	 * lock is taken. */
	bool (*overtaxed)(void *user);
	/* The source has no such directory, or a file in its place: does the rest of the state
	 * agree, so that nothing remote is left in it? */
	enum vanished (*vanished)(void *user, struct directory *d);
	/* The directory with that st_ino, if it is in memory: a reference, else NULL. */
	struct directory *(*known)(void *user, uint64_t ino);
	/* The directory's path in the store, taken by the lister; NULL: it has none any more. */
	char *(*local_path)(void *user, struct directory *d);
	/* A local name got a number as its place (overlay.h), and what it was in the process
	 * before, 0: none. `key`: of the name and its directory. Under the lister's lock, or on
	 * loading; NULL: not kept. */
	void (*placed)(void *user, uint64_t key, uint32_t number);
	uint32_t (*place)(void *user, uint64_t key);
	void *user;
};

struct lister *lister_new(struct store *store, struct source *source, struct pool *disk,
                          struct alarm_clock *clock, const struct lister_options *options);
void lister_stop(struct lister *l); /* before source_close(), as fill_stop() */
void lister_free(
        struct lister *l); /* after source_close() and pool_free(); saves unsaved listings */

struct directory *directory_new(struct lister *l, const char *path, uint64_t ino, void *owner);
/* A directory without remote entries; `empty`: without local ones, too. */
struct directory *directory_new_local(struct lister *l, uint64_t ino, bool empty, void *owner);
/* Sets the parent at the source, before `d` is shared. Takes a reference. */
void directory_set_parent(struct directory *d, struct directory *parent);
struct directory *directory_ref(struct directory *d);
void directory_unref(struct directory *d); /* a request under way holds a reference */
void *directory_owner(const struct directory *d);
const char *directory_path(const struct directory *d);

/* The source lists directories no more that have nothing local: drops their stored listings, and
 * those of all below. Takes `inos`, of uint64_t. May be called from changed(). */
void lister_unlist(struct lister *l, GArray *inos);
/* The directory was removed: its listing is not stored any more. */
void directory_unlist(struct directory *d);

/* The current listing, with a reference; NULL where unlisted, or where the local names are not
 * loaded yet. Stale ones too: see `fresh`. Never waits. */
struct listing *directory_listing(struct directory *d, bool *fresh);
/* A copy of one entry as it is now (attributes may have been resolved since). */
void directory_entry(struct directory *d, struct listing *l, uint32_t index,
                     struct listing_entry *out);

/* The state of a name, in a directory with listing `l`. */
enum child { CHILD_NONE, CHILD_REMOTE, CHILD_LOCAL };
/* *index: of CHILD_REMOTE, in `l`. */
enum child directory_child(struct directory *d, struct listing *l, const char *name,
                           uint32_t *index);
/* Is the name local? */
bool directory_has_local(struct directory *d, const char *name);
/* Does the listing contain the name, gone or not? */
bool directory_is_listed(struct directory *d, const char *name);

/* The first entry past `position`, 0 = of all. Positions survive changes. */
struct directory_entry {
	char name[256];
	uint64_t position;
	uint32_t type;  /* S_IFMT, of local ones */
	uint32_t index; /* in the listing, of remote ones */
	bool local;
};
bool directory_next(struct directory *d, struct listing *l, uint64_t position,
                    struct directory_entry *out);
/* After a change of the store: the name became local; is no longer local; its remote is gone. */
void directory_local_add(struct directory *d, const char *name, uint32_t type);
void directory_local_remove(struct directory *d, const char *name);
void directory_gone_add(struct directory *d, const char *name);
/* The number of subdirectories. false: not listed. */
bool directory_subdirectories(struct directory *d, uint32_t *count);
/* 0: no name in it, local or remote, or none that can be shown: the source permanently refuses to
 * list it, and it has no local names. ENOTEMPTY; EIO: unknown. */
int directory_empty(struct directory *d);

/* Sets the entry's attributes regardless of the source, for an entry whose older version
 * is kept. May be called from changed(). */
void directory_resolve(struct directory *d, struct listing *l, uint32_t index, uint64_t size,
                       bool mtime_known, int64_t mtime_ns);

struct lister_wait { /* zeroed; the lister's, until `done` or a successful lister_cancel() */
	pid_t pid;
	int64_t since_ns; /* when the wait began; 0: now */
	/* error 0: `listing` is borrowed for the call (NULL for attributes) */
	void (*done)(struct lister_wait *w, struct listing *listing, int error);
	struct directory *directory; /* private from here on */
	int64_t until_ns;
	int64_t after_ns; /* requests begun earlier do not answer it; INT64_MIN: any listing does */
	uint64_t ino;     /* of the entry whose attributes are wanted, 0 = the listing */
	GList link, queue_link;
};

/* 0: fresh, *listing has a reference, `done` is not called. -EINPROGRESS: `done` will be. */
int lister_want(struct directory *d, struct lister_wait *w, struct listing **listing);
/* The same, for any listing, however old: the store's, if it has one. Its source may be asked, but
 * is not waited for. */
int lister_want_stored(struct directory *d, struct lister_wait *w, struct listing **listing);
/* The exact size of entry `index` of `l` (HEAD). 0: known, -EINPROGRESS. From the second call in
 * a directory, the next siblings are requested in parallel. */
int lister_want_attributes(struct directory *d, struct listing *l, uint32_t index,
                           struct lister_wait *w);
bool lister_cancel(struct lister *l, struct lister_wait *w);
/* Why the last request failed, one line; NULL: it did not. Caller frees. */
char *directory_cause(struct directory *d);
/* The file `name` differs from its attributes: a size from a HEAD is requested again. */
void directory_unresolve(struct directory *d, const char *name);
/* The source reports the file `name` as a directory: its entry becomes one, or, where listings
 * distinguish the two, the listing becomes stale. false: `name` is not listed. */
bool directory_found(struct directory *d, const char *name);
/* Makes the listing stale: the next want asks the source, also if a request is under way. */
void directory_expire(struct directory *d);

struct lister_counters {
	uint64_t listings, listings_unchanged, attributes, errors;
	uint64_t waits, timeouts; /* as those of fill_counters */
	bool source_down;         /* the last request did not reach the source */
};
void lister_counters(struct lister *l, struct lister_counters *out);

struct lister_wait_info {
	const char *path;
	pid_t pid;
	int64_t since_ns, until_ns;
	bool attributes;
};
void lister_foreach_wait(struct lister *l, void (*fn)(const struct lister_wait_info *, void *),
                         void *user);
