/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by the files of the lister: lister.c (requests), refresh.c (one directory's
 * listing from store or source), mistyped.c (files that are directories), ancestry.c (directories
 * below themselves), attributes.c (one entry's), directory.c, lister_wait.c (answers),
 * lister_save.c, unlisted.c (stored listings that go).
 *
 * Locking: lister.lock covers all that is marked LISTER_LOCKED, the rest is fixed after creation;
 *          `_locked` wants it held
 */
#pragma once
#include "fetch/base/lock.h"
#include "fetch/base/readahead.h"
#include "fetch/list/lister.h"
#include "fetch/list/overlay.h"

/* For clang: the thread has locked the lister's `lock` (fetch/base/lock.h). */
extern struct mutex lister_locked;
#define LISTER_LOCKED GUARDED_BY(lister_locked)
#define lister_lock(l) lister_lock_at(l LOCK_HERE)
#define lister_unlock(l) lister_unlock_at(l LOCK_HERE)

struct lister {
	struct store *store; /* borrowed, as the next three */
	struct source *source;
	struct pool *disk;
	struct alarm_clock *clock;
	struct lister_options options; /* defaults filled in; fixed */
	struct mutex lock;
	struct condition changed; /* `submitting` */
	/* of struct lister_wait, by queue_link, the next to expire first */
	GQueue waiters LISTER_LOCKED;
	GQueue unsaved LISTER_LOCKED; /* of struct directory, a reference each */
	struct alarm deadline, idle;
	struct pool_job save_job;
	bool deadline_set LISTER_LOCKED, idle_set LISTER_LOCKED;
	bool saving LISTER_LOCKED, stopped LISTER_LOCKED;
	bool down LISTER_LOCKED;             /* the last request did not reach the source */
	int64_t down_until_ns LISTER_LOCKED; /* until then stale listings are not revalidated */
	unsigned submitting LISTER_LOCKED;   /* threads about to call the source or the pool */
	uint64_t listings LISTER_LOCKED, listings_unchanged LISTER_LOCKED;
	uint64_t attributes LISTER_LOCKED, errors LISTER_LOCKED;
	uint64_t waits LISTER_LOCKED, timeouts LISTER_LOCKED;
};

static inline void lister_lock_at(struct lister *l LOCK_PLACE)
        ACQUIRE(l->lock, lister_locked) NO_THREAD_SAFETY_ANALYSIS
{
	mutex_lock_at(&l->lock LOCK_SAME);
}

static inline void lister_unlock_at(struct lister *l LOCK_PLACE)
        RELEASE(l->lock, lister_locked) NO_THREAD_SAFETY_ANALYSIS
{
	mutex_unlock_at(&l->lock LOCK_SAME);
}

/* A summary of a listing, for comparison with another. */
struct shape {
	uint64_t hash;
	uint32_t count;
	bool telling; /* it contains the time of a file */
};

/* Answers that are believed when they come twice. */
enum removal { REMOVAL_NONE, REMOVAL_EMPTY = 1, REMOVAL_MISSING = 2, REMOVAL_REFUSED = 4 };

/* One directory being listed. */
struct refresh {
	struct source_list request;  /* belongs to the source once submitted */
	struct source_list probe;    /* of `elsewhere`; as `request` */
	struct source_stat witness;  /* whether it is a file; as `request` */
	struct pool_job job;         /* loads from the store first */
	GError *error;               /* owned; how it ended; NULL: with a listing */
	struct directory *directory; /* a reference */
	struct shape shape;          /* of the listing of `request`, if it is new */
	char *elsewhere;             /* owned; path of the probe: a directory below that may repeat
	                              * this one, or the parent, to see if this one vanished; NULL:
	                              * no probe */
	int64_t begun_ns;            /* when the source was asked; 0: not yet */
	bool refuted;                /* it is a file */
	unsigned unconfirmed;        /* enum removal: answers that came once */
};

/* A request for the attributes of one entry. */
struct stat_request {
	struct source_stat request;
	struct directory *directory; /* a reference */
	uint64_t ino, listed_hash;   /* the entry, as it was listed */
	char *path;                  /* owned; the name begins at `name` */
	const char *name;
	GList link;                /* in attributes.asked */
	struct stat_request *next; /* in a chain to be submitted */
};

struct attributes {
	struct walkahead walk LISTER_LOCKED;
	GList *asked LISTER_LOCKED;   /* of struct stat_request, by link */
	GList *waiters LISTER_LOCKED; /* of struct lister_wait, by link */
};

struct directory {
	struct lister *lister;
	struct directory *parent; /* a reference; NULL: none, or not known */
	void *owner;
	uint64_t ino;
	struct listing *listing LISTER_LOCKED; /* a reference; NULL: unlisted */
	struct shape shape LISTER_LOCKED;      /* of the listing */
	struct overlay *overlay LISTER_LOCKED; /* owned; NULL: not looked for yet */
	/* not referenced: the listing that `subdirectories` is of */
	struct listing *counted LISTER_LOCKED;
	uint32_t subdirectories LISTER_LOCKED;
	struct attributes *attributes LISTER_LOCKED; /* owned; NULL: none were ever requested */
	GList *waiters LISTER_LOCKED;   /* of struct lister_wait for the listing, by link */
	char *cause LISTER_LOCKED;      /* owned; of the last failure */
	int64_t quiet_ns LISTER_LOCKED; /* a stale listing is not revalidated before */
	unsigned refs;                  /* atomic */
	bool looked LISTER_LOCKED;      /* into the store */
	unsigned missed LISTER_LOCKED;  /* changes of names while they were not loaded */
	bool local;                     /* nothing remote: its listing stays empty */
	bool refused LISTER_LOCKED;     /* the source's last answer was a permanent refusal */
	bool refreshing LISTER_LOCKED, unsaved LISTER_LOCKED;
	/* Calls of changed() that are to come, or run: until then the listing is not stored. The
	 * next process, if this one dies, finds the older listing, and so the changes */
	unsigned untold LISTER_LOCKED;
	bool unlisted LISTER_LOCKED;      /* the source lists it no more: it is not stored */
	int64_t asked_ns LISTER_LOCKED;   /* begin of the listing's request; 0: before this mount */
	int64_t expired_ns LISTER_LOCKED; /* when it was last found to be stale */
	char path[];
};

/* lister.c */
/* The stale listing answers a want: the source is down (a request tries it again), or stopped. */
bool stale_will_do_locked(const struct directory *d) REQUIRES(lister_locked);
void lister_tell(const GError *error, bool waited, const char *what, const char *path);

/* directory.c */
/* The listing answers a wait that began at `since_ns`, without a request. */
bool directory_fresh_locked(struct directory *d, int64_t since_ns) REQUIRES(lister_locked);
/* The earliest beginning of a request that answers a wait begun at `since_ns`. */
int64_t directory_after_locked(const struct directory *d, int64_t since_ns) REQUIRES(lister_locked);
/* The index in the current listing of entry `index` of `l`; false: the entry is gone or was
 * replaced. */
bool directory_find_locked(struct directory *d, struct listing *l, uint32_t index, uint32_t *now)
        REQUIRES(lister_locked);
/* directory_names.c: of lister_options.placed. */
uint64_t directory_place_key(const struct directory *d, const char *name);
/* `listing` was replaced. */
void directory_relisted_locked(struct directory *d) REQUIRES(lister_locked);
/* A permanent refusal: no index, access denied, or a directory that leads back to itself. */
bool directory_is_refusal(const GError *error);
void directory_failed_locked(struct directory *d, const GError *error) REQUIRES(lister_locked);
/* Records from the last request whether the source can be reached. */
void lister_reached_locked(struct lister *l, const GError *error) REQUIRES(lister_locked);

/* mistyped.c. Makes entry `index` a directory. Returns the previous listing, to be dropped without
 * the lock; NULL: no memory. */
struct listing *directory_found_locked(struct directory *d, uint32_t index) REQUIRES(lister_locked);
/* Is it doubtful that `d`, marked LISTING_DIRECTORY, is a directory, now that listing it failed? */
bool mistyped_suspect_locked(const struct directory *d, const GError *error)
        REQUIRES(lister_locked);
/* `d` is a file. On a thread of the disk pool: calls changed() for the parent directory. */
void mistyped_refute(struct directory *d);

/* ancestry.c */
struct shape listing_shape(struct listing *l);
bool shape_equal(const struct shape *a, const struct shape *b);
/* Whether `d`, whose listing has that shape, repeats a directory above it: no; perhaps, if
 * *deeper (the caller's) has that shape, too; yes, with *error. */
enum ancestry { ANCESTRY_NONE, ANCESTRY_DOUBT, ANCESTRY_LOOP };
enum ancestry directory_ancestry_locked(const struct directory *d, const struct shape *shape,
                                        char **deeper, GError **error) REQUIRES(lister_locked);
void ancestry_error(const struct directory *d, GError **error);

/* refresh.c: after refresh_new_locked(), refresh_submit() without the lock */
struct refresh *refresh_new_locked(struct directory *d) REQUIRES(lister_locked);
void refresh_submit(struct refresh *a);
/* The answer is accepted, or is a failure. */
void refresh_confirmed(struct refresh *a, const GError *error);
/* confirm.c: `done` of the refresh's request. */
void refresh_answered(struct source_request *r, const GError *error);
void lister_submitted(struct lister *l);

/* attributes.c: a chain by `next` */
struct stat_request *attributes_plan_locked(struct directory *d, uint32_t index)
        REQUIRES(lister_locked);
void attributes_submit(struct lister *l, struct stat_request *chain);

/* lister_wait.c: `ready` is a chain by `link`. An answer borrows its listing from a reference
 * that is taken while the lock is held. */
struct answer {
	struct lister_wait *wait;
	struct listing *listing; /* a reference */
	int error;
};
GArray *answers_new(void); /* of struct answer */
void lister_wait_add_locked(struct directory *d, struct lister_wait *w, uint64_t ino)
        REQUIRES(lister_locked);
void lister_wait_remove_locked(struct lister_wait *w) REQUIRES(lister_locked);
/* Answers the waits for the listing (ino 0) or for attributes, with `error` or the current listing,
 * if a request that began at `begun_ns` is recent enough for them. */
void answers_take_locked(GArray *answers, struct directory *d, uint64_t ino, int error,
                         int64_t begun_ns) REQUIRES(lister_locked);
void answers_give(GArray *answers); /* frees */
void lister_waits_expire(struct alarm *a);

/* lister_save.c */
void directory_unsaved_locked(struct directory *d, bool soon) REQUIRES(lister_locked);
/* The same once changed() has returned, for the last of directory.untold. */
void directory_told_locked(struct directory *d, bool soon) REQUIRES(lister_locked);
void lister_save_idle(struct alarm *a);
void lister_save_all(struct lister *l);
void lister_save_run(struct pool_job *job);
