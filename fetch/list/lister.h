/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Making directories listed: who asks the source, who waits, and what is fresh.
 *
 *        unlisted ──load from store──▶ listed ──ttl──▶ stale ──conditional──▶ listed
 *            └──────ask the source───────┘               └─ unreachable: stays, and is
 *                                                           asked again after a while
 * Shape:   one request per directory at a time; listings are replaced whole. That a directory is
 *          empty which was not known to be, or is none that is listed, is believed when it
 *          is told twice
 * Owns:    borrows store, source, pool, clock; a directory holds its listing
 * Locking: one mutex, never held across I/O or a callback
 * Errors:  positive errno to waiters; logged once. ELOOP: a directory of a source that is
 *          `cyclic` is one above it again, for ever
 */
#pragma once
#include <sys/types.h>
#include "fetch/base/pool.h"
#include "fetch/source/base/source.h"
#include "fetch/store/disk/store.h"

struct lister;
struct directory;

/* VANISHED_ASK: nothing else is known; the source's listing of the directory above it tells. */
enum vanished { VANISHED_NOT, VANISHED, VANISHED_ASK };

struct lister_options {
	unsigned wait_ms; /* 0 = 30,000 */
	/* Of a listing; UINT_MAX = never asked again; 0 = each time: whoever asks gets an answer to
	 * a request that was begun after he did */
	unsigned ttl_ms;
	/* The source told something new; runs before waiters get it. `before` may be NULL. */
	void (*changed)(void *user, struct directory *d, struct listing *before,
	                struct listing *after);
	/* The source has no such directory, or what it has is none: does what else is known agree,
	 * so that there is nothing remote in it from here on? */
	enum vanished (*vanished)(void *user, struct directory *d);
	/* The directory's path in the store, owned by the lister; NULL: it has none any more. */
	char *(*local_path)(void *user, struct directory *d);
	void *user;
};

struct lister *lister_new(struct store *store, struct source *source, struct pool *disk,
                          struct alarm_clock *clock, const struct lister_options *options);
void lister_stop(struct lister *l); /* before source_close(), as fill_stop() */
void lister_free(
        struct lister *l); /* after source_close() and pool_free(); saves what is unsaved */

struct directory *directory_new(struct lister *l, const char *path, uint64_t ino, void *owner);
/* Nothing remote shows through; `empty`: nor is anything local in it yet. */
struct directory *directory_new_local(struct lister *l, uint64_t ino, bool empty, void *owner);
/* Where it lies at the source; before anybody else knows of it. Takes a reference. */
void directory_set_parent(struct directory *d, struct directory *parent);
struct directory *directory_ref(struct directory *d);
void directory_unref(struct directory *d); /* a listing on its way holds a reference */
void *directory_owner(const struct directory *d);
const char *directory_path(const struct directory *d);

/* The listing as it is now, with a reference; NULL where unlisted, or where it is not known yet
 * what counts here. Stale ones too: `fresh` says which. Never waits. */
struct listing *directory_listing(struct directory *d, bool *fresh);
/* A copy of one entry as it is now (attributes may have been resolved since). */
void directory_entry(struct directory *d, struct listing *l, uint32_t index,
                     struct listing_entry *out);

/* What a name is. Of a directory whose listing `l` has been given out. */
enum child { CHILD_NONE, CHILD_REMOTE, CHILD_LOCAL };
/* *index: of CHILD_REMOTE, in `l`. */
enum child directory_child(struct directory *d, struct listing *l, const char *name,
                           uint32_t *index);
/* Does the name count locally? */
bool directory_has_local(struct directory *d, const char *name);
/* Has the listing the name, gone or not? */
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
/* After the store: the name counts locally; does not any more; its remote one is gone. */
void directory_local_add(struct directory *d, const char *name, uint32_t type);
void directory_local_remove(struct directory *d, const char *name);
void directory_gone_add(struct directory *d, const char *name);
/* How many directories are in it. false: not listed. */
bool directory_subdirectories(struct directory *d, uint32_t *count);
/* 0: nothing, local or remote, has a name in it, or can be shown: the source refuses to list it for
 * good, and nothing in it counts here. ENOTEMPTY; EIO: that is not known. */
int directory_empty(struct directory *d);

/* Says what the entry is from now on, whatever the source told: for one whose older version
 * is kept. For changed(), too. */
void directory_resolve(struct directory *d, struct listing *l, uint32_t index, uint64_t size,
                       bool mtime_known, int64_t mtime_ns);

struct lister_wait { /* zeroed; the lister's, until `done` or a successful lister_cancel() */
	pid_t pid;
	int64_t since_ns; /* when the wait began; 0: now */
	/* error 0: `listing` is borrowed for the call (NULL for attributes) */
	void (*done)(struct lister_wait *w, struct listing *listing, int error);
	struct directory *directory; /* private from here on */
	int64_t until_ns;
	int64_t after_ns; /* a request that was begun before does not answer it */
	uint64_t ino;     /* whose attributes, 0 = the listing */
	GList link, queue_link;
};

/* 0: fresh already, *listing has a reference, `done` is not called. -EINPROGRESS. */
int lister_want(struct directory *d, struct lister_wait *w, struct listing **listing);
/* The exact size of entry `index` of `l` (HEAD). 0: known, -EINPROGRESS. Siblings that
 * come next in the listing are asked for side by side once a second one is wanted. */
int lister_want_attributes(struct directory *d, struct listing *l, uint32_t index,
                           struct lister_wait *w);
bool lister_cancel(struct lister *l, struct lister_wait *w);
/* Why the source was last asked in vain, one line; NULL: it was not. Caller frees. */
char *directory_cause(struct directory *d);
/* The file `name` is not what was told: if its size came one by one, it is asked for again. */
void directory_doubt(struct directory *d, const char *name);
/* The source says that the file `name` is a directory: it is one from now on, or, where listings
 * know one from the other, the listing is stale. false: it is none of its listing. */
bool directory_found(struct directory *d, const char *name);
/* Marks it stale: the next want asks the source, also if a request is under way. */
void directory_expire(struct directory *d);

struct lister_counters {
	uint64_t listings, listings_unchanged, attributes, errors;
	bool source_down; /* the last request did not reach the source */
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
