/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by the files of the fill engine: fill.c (requests), plan.c (the transfers they need),
 * transfer.c and holding.c (data from the source), verify.c (data of a dead epoch), rebind.c
 * (another version), waiter.c (answers), packed.c (files in packs), content.c, fill_status.c.
 *
 * Shape:     every chunk under way is *held* by exactly one transfer, from its plan
 *            until it is published (released, its waiters woken), moved to
 *            another transfer, or given up with the transfer (its waiters get the error).
 *            A waiter's `missing` is the number of its chunks that are held.
 * Presence:  a held chunk may already be present on disk: look for its holder first, for its
 *            presence second, both under the lock
 * Locking:   fill.lock covers all that is marked FILL_LOCKED; `_locked` wants it held. A
 *            content's local file is opened or made by one thread at a time (content_claim),
 *            without the lock
 */
#pragma once
#include <xxhash.h>
#include "fetch/base/lock.h"
#include "fetch/base/rate.h"
#include "fetch/fill/fill.h"

/* For clang: the thread has locked the fill's `lock` (fetch/base/lock.h). */
extern struct mutex fill_locked;
#define FILL_LOCKED GUARDED_BY(fill_locked)
#define fill_lock(f) fill_lock_at(f LOCK_HERE)
#define fill_unlock(f) fill_unlock_at(f LOCK_HERE)

struct fill {
	struct store *store; /* borrowed, as the next three */
	struct source *source;
	struct pool *disk;
	struct alarm_clock *clock;
	struct fill_options options; /* defaults filled in; fixed */
	struct mutex lock;
	struct condition changed;     /* a content's `opening`, or `submitting` */
	GQueue transfers FILL_LOCKED; /* of struct transfer, by `all` */
	/* of struct fill_wait, by queue_link, the next to expire first */
	GQueue waiters FILL_LOCKED;
	struct alarm deadline;
	bool deadline_set FILL_LOCKED, stopped FILL_LOCKED;
	unsigned submitting FILL_LOCKED;  /* threads between a plan and the end of its submission */
	uint64_t ahead FILL_LOCKED;       /* bytes under way without a waiter */
	struct rate rate FILL_LOCKED;     /* of fetches */
	unsigned fetches FILL_LOCKED;     /* transfers of that kind */
	GHashTable *packs FILL_LOCKED;    /* path (the content's) → struct content, not counted */
	GHashTable *evicting FILL_LOCKED; /* set of paths of packs, borrowed */
	GQueue recent FILL_LOCKED;        /* of struct content, references: packs */
	struct {                          /* the last fetch of a pack */
		char *path;               /* owned; NULL: none */
		uint64_t next, window;
		bool ended; /* to its end */
	} walk FILL_LOCKED;
	/* atomic: */
	uint64_t bytes_fetched, chunks_fetched, chunks_verified, requests, errors, waits, timeouts;
};

static inline void fill_lock_at(struct fill *f LOCK_PLACE)
        ACQUIRE(f->lock, fill_locked) NO_THREAD_SAFETY_ANALYSIS
{
	mutex_lock_at(&f->lock LOCK_SAME);
}

static inline void fill_unlock_at(struct fill *f LOCK_PLACE)
        RELEASE(f->lock, fill_locked) NO_THREAD_SAFETY_ANALYSIS
{
	mutex_unlock_at(&f->lock LOCK_SAME);
}

/* The end of a submission that was counted in `submitting`. */
static inline void fill_submitted(struct fill *f)
{
	fill_lock(f);
	f->submitting--;
	condition_broadcast(&f->changed);
	fill_unlock(f);
}

struct failure {
	int error;
	int64_t at_ns; /* CLOCK_REALTIME */
	char cause[];
};

struct content {
	struct fill *fill;
	void *owner;
	struct store_file *file;      /* atomic; once set it stays until the last reference goes */
	struct store_origin origin;   /* version: that of the first answer */
	GList *transfers FILL_LOCKED; /* of struct transfer, by `link` */
	GList *waiters FILL_LOCKED;   /* of struct fill_wait, by `link` */
	struct failure *failure FILL_LOCKED; /* owned; NULL: none so far */
	unsigned refs;                       /* atomic */
	bool opening FILL_LOCKED;            /* one thread opens or creates the local file */
	bool looked; /* under the claim: content_open() has looked for a local file */
	struct rebind *rebind FILL_LOCKED; /* under way; NULL: none */
	int64_t rebound_ns FILL_LOCKED;    /* when the last one began; 0: never */
	bool completed FILL_LOCKED;        /* options.completed has been or need not be called */
	struct content
	        *pack; /* atomic, a reference: the file is in it; NULL: in none. As `looked` */
	uint64_t pack_offset;        /* in it; set before `pack`, as the next */
	source_version pack_version; /* the file's */
	char *remote;                /* owned, or `path` */
	char path[];                 /* in the store, at creation */
};

enum transfer_kind { TRANSFER_FETCH, TRANSFER_VERIFY };

/* Chunks under way, delivered in order: a chunk < `cursor` has been begun or is skipped. */
struct transfer {
	struct source_read read; /* of a FETCH; belongs to the source once submitted */
	struct pool_job job;     /* of a VERIFY */
	struct content *content; /* a reference */
	enum transfer_kind kind;
	GList link, all;
	struct transfer *next; /* in its plan, until submitted */
	/* Held chunks: [first, last] where `held` is NULL, else its set bits, all of which
	 * lie in [first, last]. Empty: first > last. */
	uint64_t first FILL_LOCKED, last FILL_LOCKED, cursor FILL_LOCKED;
	uint8_t *held FILL_LOCKED;       /* owned; one bit per chunk of the file */
	uint64_t ahead_from FILL_LOCKED; /* chunks from here on were charged to fill.ahead */
	uint64_t charge FILL_LOCKED;     /* the rest of that charge */
	uint64_t offset, length;         /* requested, or announced; for status */
	int64_t since_ns, began_ns;      /* 0: no answer yet */
	uint64_t arrived;                /* bytes; atomic */
	bool ended FILL_LOCKED;          /* neither split nor given chunks any more */
	int64_t anew_ns FILL_LOCKED;     /* its chunks are not requested anew before this time */
#define ANEW_ALWAYS INT64_C(-1)          /* ranges were answered since */
	/* The source's thread only: */
	uint64_t at, end;   /* next byte, and end of the delivery */
	XXH3_state_t *hash; /* owned; of the chunk being stored */
	uint64_t unwanted;  /* bytes received since the file has neither waiter nor user */
	bool taking;        /* the chunk at `at` is being stored */
	uint64_t taken;     /* bytes of store_space_take() for a chunk that is not published yet */
	bool changed;       /* the source has another version than the cached chunks */
	int local_error;    /* positive errno of the store */
};

/* content.c */
struct store_file *content_file(struct content *c); /* NULL: none yet */
char *content_local_path(struct content *c);
unsigned content_shift(struct content *c);
uint64_t content_chunks(struct content *c);
uint64_t content_chunk_end(struct content *c, uint64_t chunk);
/* One thread at a time: between claim and yield the caller may set `file`. */
void content_claim(struct content *c);
void content_yield(struct content *c);
void content_failed(struct content *c, int error, const char *cause);
/* After a chunk became present, no lock held. */
void content_check_complete(struct content *c);

/* plan.c: a chain of new transfers, by `next` */
struct plan {
	struct content *content;
	struct transfer *made, *open; /* first and last */
	unsigned count;
	struct source_cause cause;
};
enum chunk_state { CHUNK_PRESENT, CHUNK_ABSENT, CHUNK_DOUBTFUL, CHUNK_HELD };
enum chunk_state chunk_state_locked(struct content *c, uint64_t chunk, struct transfer **holder)
        REQUIRES(fill_locked);
/* Makes a transfer hold `chunk`, which is absent or doubtful. */
struct transfer *plan_add_locked(struct plan *p, uint64_t chunk, enum transfer_kind kind)
        REQUIRES(fill_locked);
/* Plans all chunks of [first, last] that are not present. Returns how many of the range are held.
 */
uint64_t plan_range_locked(struct plan *p, uint64_t first, uint64_t last) REQUIRES(fill_locked);
/* Plans the chunks of [first, last] that are worth a request and fit into the budget. */
void plan_ahead_locked(struct plan *p, uint64_t first, uint64_t last, uint64_t allowance)
        REQUIRES(fill_locked);
/* The plan is complete; plan_submit() must follow, without the lock. */
void plan_finish_locked(struct plan *p) REQUIRES(fill_locked);
void plan_submit(struct plan *p);

/* transfer.c, holding.c */
struct transfer *transfer_new_locked(struct content *c, enum transfer_kind kind, uint64_t chunk)
        REQUIRES(fill_locked);
void transfer_prepare_locked(struct transfer *t) REQUIRES(fill_locked);
bool transfer_holds_locked(const struct transfer *t, uint64_t chunk) REQUIRES(fill_locked);
bool transfer_holds_any_locked(const struct transfer *t, uint64_t first, uint64_t last)
        REQUIRES(fill_locked);
/* `t` no longer holds `chunk`. */
void transfer_release_locked(struct transfer *t, uint64_t chunk) REQUIRES(fill_locked);
/* `t` no longer holds any chunk; its chunks have no waiter. It may be given others later. */
void transfer_release_all_locked(struct transfer *t) REQUIRES(fill_locked);
void transfer_drop_charge_locked(struct transfer *t) REQUIRES(fill_locked);
/* Moves the held chunks to a transfer that will deliver them anyway; false: there is none. */
bool transfer_give_locked(struct transfer *t) REQUIRES(fill_locked);
/* An answer has the range that was asked for: chunks of those that do not may be requested anew. */
void transfers_ask_anew_locked(struct content *c) REQUIRES(fill_locked);
/* The answer of `t` comes to `chunk`: `t` takes it if nobody holds it, or a request that has no
 * answer yet. */
void transfer_take_back_locked(struct transfer *t, uint64_t chunk) REQUIRES(fill_locked);
/* Do requests without an answer hold chunks that the answer of `t` still comes to? */
bool transfer_lent_locked(const struct transfer *t) REQUIRES(fill_locked);
/* The source will deliver [offset, +length): `t` holds all absent chunks of that range, too. */
void transfer_widen_locked(struct transfer *t, uint64_t offset, uint64_t length)
        REQUIRES(fill_locked);
/* `chunk` is present: releases it and answers the waiters it completes. */
void transfer_arrived(struct transfer *t, uint64_t chunk);
/* Chunks still held did not arrive, due to `error`. Frees. */
void transfer_end(struct transfer *t, const GError *error);

/* rebind.c: see there. true: `t` is taken: it is sent again, or ends later. */
bool rebind_begin(struct transfer *t, const GError *error);

/* packed.c */
/* The pack that a content without a local file is read from; NULL. */
static inline struct content *content_pack(struct content *c)
{
	return content_file(c) ? NULL : __atomic_load_n(&c->pack, __ATOMIC_ACQUIRE);
}
/* Under the content's claim: asks whether it is in a pack. Local I/O. */
void packed_look(struct content *c);
/* Moves a wait for data of `c` to its pack. false: `c` has none, or needs a file of its own. */
bool packed_want(struct content *c, struct fill_wait *w, struct content **pack, uint64_t *ahead);
/* Data of the local file that its pack has. false: the source is to be asked. */
bool packed_submit(struct transfer *t);
/* The last reference to a pack is gone. */
void packed_released(struct content *c);
/* Closes the packs that are not in use. */
void packed_forget(struct fill *f);

/* verify.c */
void verify_run(struct pool_job *job);

/* waiter.c: `ready` is a chain by `link`, answered without the lock */
void waiter_add_locked(struct content *c, struct fill_wait *w, uint64_t missing)
        REQUIRES(fill_locked);
void waiter_remove_locked(struct fill_wait *w) REQUIRES(fill_locked);
void waiters_wake_locked(struct content *c, uint64_t chunk, GList **ready) REQUIRES(fill_locked);
void waiters_fail_locked(struct content *c, const struct transfer *t, const GError *cause,
                         GList **ready) REQUIRES(fill_locked);
void waiters_answer(GList *ready);
void waiters_expire(struct alarm *a);
