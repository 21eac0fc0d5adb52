/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Mutexes, read-write locks and condition variables, and the one order in which they are taken.
 * Order:   a thread takes a lock only if its rank is above the rank of each lock that it holds: two
 *          locks of one rank are never held together, and no lock is taken twice, even for reading
 * Checked: in builds with a sanitizer (LOCKS_CHECKED) each call is compared with the locks that
 *          the thread holds. A wrong order, a wait with another lock held and an unlock of a lock
 *          that the thread does not hold print both locks, with files and lines, and abort. A
 *          successful trylock may be out of order: it never waits
 * Cost:    in other builds none: a struct holds the pthread object alone, the calls are pthread's
 * Errors:  none; what pthread reports is a bug of the caller
 */
#pragma once
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

/* The lock order, from the first to the last. libfuse's lock of a request comes before all of
 * them: libfuse holds it while it reports an interrupt. */
enum lock_rank {
	/* fuse/daemon/, fuse/control/ and fuse/ops/: before what they call */
	RANK_DEADMAN,
	RANK_SESSION,
	RANK_LEAVING,
	RANK_INQUIRY,
	RANK_CONTROL,
	RANK_FILLER,
	RANK_VIGIL,
	RANK_PARKED,
	RANK_FAILING, /* server.failed */

	/* fuse/inode/ */
	RANK_SEALERS, /* before RANK_SEALING: access.h */
	RANK_SEALING,
	RANK_HANDLE,
	RANK_HANDLE_TABLE,
	RANK_WAY, /* a way or a move, which is no lock: ways.h */
	RANK_WAYS,
	RANK_INODE,
	RANK_INODE_TABLE,
	RANK_NAMES,
	RANK_BACKING,
	RANK_NUMBERS,

	/* fuse/events/ and fetch/: none of the first three is held with another one of them */
	RANK_REGISTRY,
	RANK_LISTER,
	RANK_FILL,
	RANK_COMMITS,
	RANK_TRACE,

	/* fuse/inode/ and fuse/ops/: under the locks above, and with no later one held, except
	 * RANK_WAITQUEUE and RANK_DOUBTS with RANK_ALARM */
	RANK_WAITQUEUE,
	RANK_DOUBTS,
	RANK_SHORTAGE,
	RANK_EVICTOR, /* its counters */
	RANK_MISHAPS,
	RANK_NOTIFIER,

	RANK_PUBLISH, /* fetch/publish/: with no other */

	/* fetch/source/ */
	RANK_INTERCEPTOR,
	RANK_INDEX,
	RANK_EDITION,
	RANK_RETRY,
	RANK_MIRRORS,
	RANK_DIR_ROOT,
	RANK_PARSING_POOL,
	RANK_PARSING,
	RANK_TRANSPORT,

	/* fetch/store/ */
	RANK_DIRTY_FLUSHING,
	RANK_FILE_CHANGING, /* one file's: changing, writing, lock */
	RANK_FILE_WRITING,
	RANK_FILE,
	RANK_DIRTY,
	RANK_STAMPS,
	RANK_EPOCH_SYNCING,
	RANK_EPOCH,
	RANK_SHARING,
	RANK_PINS,
	RANK_LRU,

	/* fetch/base/ and fuse/base/: under any other */
	RANK_LISTING,
	RANK_POOL,
	RANK_ARENA,
	RANK_ALARM,
	RANK_CALLER,
	RANK_HELPER, /* with it, a question waits for its answer: two seconds at most */
	RANK_STREAMS,
	RANK_LOG,
	RANK_LOG_QUEUE,
};

/* Clang's thread-safety attributes (tests/test_tree.py builds with them as errors). */
#ifdef __clang__
#define LOCK_ATTRIBUTE(...) __attribute__((__VA_ARGS__))
#else
#define LOCK_ATTRIBUTE(...)
#endif
#define CAPABILITY(kind) LOCK_ATTRIBUTE(capability(kind))
#define GUARDED_BY(lock) LOCK_ATTRIBUTE(guarded_by(lock))
#define REQUIRES(...) LOCK_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) LOCK_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) LOCK_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define ACQUIRE_SHARED(...) LOCK_ATTRIBUTE(acquire_shared_capability(__VA_ARGS__))
#define TRY_ACQUIRE(...) LOCK_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
#define RELEASE(...) LOCK_ATTRIBUTE(release_capability(__VA_ARGS__))
#define RELEASE_SHARED(...) LOCK_ATTRIBUTE(release_shared_capability(__VA_ARGS__))
#define RELEASE_GENERIC(...) LOCK_ATTRIBUTE(release_generic_capability(__VA_ARGS__))
#define ASSERT_CAPABILITY(...) LOCK_ATTRIBUTE(assert_capability(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS LOCK_ATTRIBUTE(no_thread_safety_analysis)

/* Of a function that has an object before or after all other threads. */
#define UNSHARED NO_THREAD_SAFETY_ANALYSIS

/* Clang 14 follows no aliases, and in C knows no members in the attributes of members. Where one
 * lock covers objects of many structs, a role stands for it in GUARDED_BY and REQUIRES, for example
 * fill_locked in fetch/fill/fill_private.h: a mutex that is declared, but not defined. The order
 * makes it unambiguous, for a thread holds one lock of a rank. */

/* The checker (lock.c). `wanted` before a thread waits, `taken` once it has the lock. */
#ifdef LOCKS_CHECKED
struct lock_id {
	enum lock_rank rank;
	const char *name; /* borrowed: static */
};
#define LOCK_ID struct lock_id id;
#define LOCK_ID_INIT(r) , .id = {r, #r}
#define LOCK_ID_SET(lock, r) ((lock)->id = (struct lock_id){r, #r})
#define LOCK_CHECK(call, lock) lock_##call(&(lock)->id, file, line)
#define LOCK_PLACE , const char *file, int line
#define LOCK_HERE , __FILE__, __LINE__
#define LOCK_SAME , file, line
/* Of what is waited for like a lock, by other means: its rank, and the calls around the wait;
 * `again`: the thread may have the same already. */
#define LOCK_LIKE(var, rank) static const struct lock_id var = {rank, #var}
#define lock_like_wanted(var) lock_wanted(&(var)LOCK_HERE)
#define lock_like_wanted_again(var) lock_wanted_again(&(var)LOCK_HERE)
#define lock_like_taken(var) lock_taken(&(var)LOCK_HERE)
#define lock_like_left(var) lock_left(&(var)LOCK_HERE)
void lock_wanted(const struct lock_id *id, const char *file, int line);
void lock_wanted_again(const struct lock_id *id, const char *file, int line);
void lock_taken(const struct lock_id *id, const char *file, int line);
void lock_left(const struct lock_id *id, const char *file, int line);
void lock_needed(const struct lock_id *id, const char *file, int line);
/* Before a wait on a condition. */
void lock_waiting(const struct lock_id *id, const char *file,
                  int line); /* it holds no other lock */
void lock_waiting_above(const struct lock_id *id, const char *file, int line); /* no later one */
#else
#define LOCK_ID
#define LOCK_ID_INIT(r)
#define LOCK_ID_SET(lock, r) ((void)0)
#define LOCK_CHECK(call, lock) ((void)0)
#define LOCK_PLACE
#define LOCK_HERE
#define LOCK_SAME
#define LOCK_LIKE(var, rank) _Static_assert(rank > 0, #var)
#define lock_like_wanted(var) ((void)0)
#define lock_like_wanted_again(var) ((void)0)
#define lock_like_taken(var) ((void)0)
#define lock_like_left(var) ((void)0)
#endif

struct CAPABILITY("mutex") mutex {
	pthread_mutex_t mutex;
	LOCK_ID
};

struct CAPABILITY("rwlock") rwlock {
	pthread_rwlock_t lock;
	LOCK_ID
};

struct condition {
	pthread_cond_t condition;
};

#define MUTEX_INIT(rank)                                                                           \
	{                                                                                          \
		.mutex = PTHREAD_MUTEX_INITIALIZER LOCK_ID_INIT(rank)                              \
	}
#define mutex_init(m, rank) (LOCK_ID_SET(m, rank), mutex_make(m))
#define mutex_lock(m) mutex_lock_at(m LOCK_HERE)
#define mutex_trylock(m) mutex_trylock_at(m LOCK_HERE)
#define mutex_unlock(m) mutex_unlock_at(m LOCK_HERE)
/* The thread holds it, by another path to the same lock: clang follows no aliases. */
#define mutex_assert_held(m) mutex_assert_held_at(m LOCK_HERE)
/* A writer that waits goes before later readers. */
#define rwlock_init(l, rank) (LOCK_ID_SET(l, rank), rwlock_make(l))
#define rwlock_rdlock(l) rwlock_rdlock_at(l LOCK_HERE)
#define rwlock_wrlock(l) rwlock_wrlock_at(l LOCK_HERE)
#define rwlock_unlock(l) rwlock_unlock_at(l LOCK_HERE)
#define condition_wait(c, m) condition_wait_at(c, m LOCK_HERE)
/* With earlier locks held, which no thread takes that may have to end this wait. */
#define condition_wait_above(c, m) condition_wait_above_at(c, m LOCK_HERE)
/* false: `until`, of CLOCK_MONOTONIC, has come. */
#define condition_wait_until(c, m, until) condition_wait_until_at(c, m, until LOCK_HERE)

static inline void mutex_make(struct mutex *m)
{
	pthread_mutex_init(&m->mutex, NULL);
}

static inline void mutex_destroy(struct mutex *m)
{
	pthread_mutex_destroy(&m->mutex);
}

static inline void mutex_lock_at(struct mutex *m LOCK_PLACE) ACQUIRE(m) NO_THREAD_SAFETY_ANALYSIS
{
	LOCK_CHECK(wanted, m);
	pthread_mutex_lock(&m->mutex);
	LOCK_CHECK(taken, m);
}

static inline bool mutex_trylock_at(struct mutex *m LOCK_PLACE)
        TRY_ACQUIRE(true, m) NO_THREAD_SAFETY_ANALYSIS
{
	if (pthread_mutex_trylock(&m->mutex) != 0)
		return false;
	LOCK_CHECK(taken, m);
	return true;
}

static inline void mutex_unlock_at(struct mutex *m LOCK_PLACE) RELEASE(m) NO_THREAD_SAFETY_ANALYSIS
{
	LOCK_CHECK(left, m);
	pthread_mutex_unlock(&m->mutex);
}

static inline void mutex_assert_held_at(const struct mutex *m LOCK_PLACE) ASSERT_CAPABILITY(m)
{
	LOCK_CHECK(needed, m);
}

void rwlock_make(struct rwlock *l);

static inline void rwlock_destroy(struct rwlock *l)
{
	pthread_rwlock_destroy(&l->lock);
}

static inline void rwlock_rdlock_at(struct rwlock *l LOCK_PLACE)
        ACQUIRE_SHARED(l) NO_THREAD_SAFETY_ANALYSIS
{
	LOCK_CHECK(wanted, l);
	pthread_rwlock_rdlock(&l->lock);
	LOCK_CHECK(taken, l);
}

static inline void rwlock_wrlock_at(struct rwlock *l LOCK_PLACE)
        ACQUIRE(l) NO_THREAD_SAFETY_ANALYSIS
{
	LOCK_CHECK(wanted, l);
	pthread_rwlock_wrlock(&l->lock);
	LOCK_CHECK(taken, l);
}

static inline void rwlock_unlock_at(struct rwlock *l LOCK_PLACE)
        RELEASE_GENERIC(l) NO_THREAD_SAFETY_ANALYSIS
{
	LOCK_CHECK(left, l);
	pthread_rwlock_unlock(&l->lock);
}

/* Its clock is CLOCK_MONOTONIC. */
void condition_init(struct condition *c);

static inline void condition_destroy(struct condition *c)
{
	pthread_cond_destroy(&c->condition);
}

static inline void condition_signal(struct condition *c)
{
	pthread_cond_signal(&c->condition);
}

static inline void condition_broadcast(struct condition *c)
{
	pthread_cond_broadcast(&c->condition);
}

static inline void condition_wait_at(struct condition *c, struct mutex *m LOCK_PLACE) REQUIRES(m)
{
	LOCK_CHECK(waiting, m);
	pthread_cond_wait(&c->condition, &m->mutex);
}

static inline void condition_wait_above_at(struct condition *c, struct mutex *m LOCK_PLACE)
        REQUIRES(m)
{
	LOCK_CHECK(waiting_above, m);
	pthread_cond_wait(&c->condition, &m->mutex);
}

static inline bool condition_wait_until_at(struct condition *c, struct mutex *m,
                                           const struct timespec *until LOCK_PLACE) REQUIRES(m)
{
	LOCK_CHECK(waiting, m);
	return pthread_cond_timedwait(&c->condition, &m->mutex, until) != ETIMEDOUT;
}
