/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A request that waits for data or a listing, without a thread. The completion of a fetch
 * resumes it, on a thread of the disk pool if it may block.
 * Owns:    the request and a reference on the inode
 * Locking: `kind`, `waits` and the wait itself change under `lock`; the order is libfuse's
 *          lock of the request, `lock`, then those of lister, fill, handlers and the wait queue
 * Errors:  EINTR if the caller dies (caller.h), at once after an interrupt, else within
 *          a tenth of a second. A caught signal ends no wait: no local file system returns
 *          EINTR from these calls, and programs take it for "does not exist". A caller whose state
 *          is unknown waits on, wait_timeout at most, and is then taken for dead
 */
#pragma once
#include "fetch/base/lock.h"
#include "fuse/events/event.h"
#include "fuse/inode/inode.h"
#include "fuse/inode/server.h"
#include "fuse/inode/waitqueue.h"
#include "fuse/ops/replay.h"

struct parked {
	struct server *server;
	fuse_req_t req;
	struct inode *inode;
	struct content *content; /* of a waiting READ: a reference */
	struct replay *replay;   /* a reference; NULL: it cannot be replayed */
	/* The wait succeeded: answers, then parked_free(). `listing` is borrowed. */
	void (*resume)(struct parked *p, struct listing *listing);
	/* The wait failed: answers; NULL: replay_fail(). */
	void (*fail)(struct parked *p, int error);
	uint64_t offset, size;
	void *data; /* owned: g_free() */
	/* After parked_local(): `fd` is the local file, O_RDWR. Answers. */
	void (*then)(struct parked *p, int fd);
	uint32_t operation; /* that needs data: enum lacuna_operation */
	uint64_t needs;     /* bytes of the disk, as far as known */
	uint64_t seen;      /* shortage.h */
	bool goes_on;       /* parked_waits_for() of the last failure, for `fail` */
	bool plus, again;   /* again: a READ that failed a moment ago */
	struct mutex lock;
	bool waits;   /* as `kind` says, and the wait has not ended */
	bool ended;   /* by its caller's death, before it was in the queue */
	bool watched; /* by the vigil, until it is answered */
	enum { PARKED_FILL, PARKED_LIST, PARKED_EVENT, PARKED_QUEUE } kind; /* which of these */
	union {
		struct fill_wait fill;
		struct lister_wait list;
		struct event event;
		struct waitqueue_entry waitqueue;
	};
	struct pool_job job;
	pid_t tid;              /* calling thread; 0: unknown */
	int64_t interrupted_ns; /* under lock: the first signal; 0: none */
	int64_t began_ns;       /* one deadline for all the waits of a look-up, or of a read */
	int refs, answered;     /* atomic: held by parker, resumer and vigil */
	char name[];
};

/* Takes a reference of `i`. */
struct parked *parked_new(struct server *s, fuse_req_t req, struct inode *i, const char *name);
/* After the reply. */
void parked_free(struct parked *p);
/* Waits for data: true: all present, `p` is the caller's again. false: `p` is resumed on a thread
 * of the disk pool, or failed; the caller does not touch it again. */
bool parked_fill(struct parked *p, uint64_t ahead);
/* For a READ into the page cache that the same thread repeats after a failure: the deadline of the
 * first one applies. A positive errno: it has passed; 0: `p` may wait. */
int parked_again(struct parked *p);
/* Such a READ failed. */
void parked_failed(struct parked *p, int error);
/* Waits for a listing, or an entry's attributes: resumes `p` now or later, or fails it. */
void parked_list(struct parked *p, struct directory *d);
void parked_attributes(struct parked *p, struct directory *d, struct listing *l, uint32_t index);
/* Waits for a handler's verdict on this range (`cached`: for the page cache): resumes `p`, on any
 * thread, or fails it. false: no handler to ask. event.fd, which the caller then owns, has the
 * supplied data. */
bool parked_ask(struct parked *p, uint64_t offset, uint64_t length, bool cached);
/* replay_waits_for(error), or space may be freed (shortage.h). */
bool parked_waits_for(struct parked *p, int error);
/* Waits as parked_waits_for(error), for a request that is not replayed: resumes `p` on a thread of
 * the disk pool a moment later, or fails it. */
void parked_later(struct parked *p, int error);
/* The inode is claimed (claim.h): resumes `p` in the same way at the claim's end, or fails it. */
void parked_claimed(struct parked *p);
/* Answers, or replays the request (replay.h), and frees. */
void parked_fail(struct parked *p, int error);
/* change.c. A change of data: the first member of the object at `data`. */
struct changing {
	uint64_t from, count;
	int (*permit)(struct parked *p); /* a positive errno; it may reduce `count` */
	store_change change;             /* called with this object */
	void (*reply)(struct parked *p, int64_t n);
};
/* Makes the change, and answers: now or later; frees `p`. */
void parked_change(struct parked *p);
/* Truncates or extends the inode, which is kept, then `then` (`fd` may be -1). */
void parked_truncate(struct parked *p, uint64_t size);
/* Makes every byte of the inode local, then `then`, now or later; frees `p`. */
void parked_local(struct parked *p);
/* For the vigil: ends the wait if the caller dies. true: it is answered, or about to be. */
bool parked_end_dying(struct parked *p);
void parked_unref(struct parked *p);
/* Resumes `p` on a thread of the disk pool. */
void parked_to_disk(struct parked *p);
