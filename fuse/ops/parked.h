/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A request that waits for bytes or a listing. The session's thread goes on; whoever makes
 * them present resumes the request, on a thread of the disk pool where that may block.
 * Owns:    the request and a reference on the inode
 * Locking: `kind`, `waits` and what is waited for change under `lock`; the order is libfuse's
 *          lock of the request, `lock`, then those of lister, fill, handlers and the wait queue
 * Errors:  EINTR if the caller dies (caller.h), at once where an interrupt tells of it, else within
 *          a tenth of a second. A signal that is caught ends no wait: no local file system gives
 *          EINTR from these calls, and programs take it for "does not exist". A caller who cannot
 *          be looked at waits on, wait_timeout at most, and is taken for dead after it
 */
#pragma once
#include "fuse/events/event.h"
#include "fuse/inode/inode.h"
#include "fuse/inode/server.h"
#include "fuse/inode/waitqueue.h"
#include "fuse/ops/replay.h"

struct parked {
	struct server *server;
	fuse_req_t req;
	struct inode *inode;
	struct content *content; /* what a READ waits for: a reference */
	struct replay *replay;   /* a reference; NULL: it cannot begin anew */
	/* What was wanted is there: answer, then parked_free(). `listing` is borrowed. */
	void (*resume)(struct parked *p, struct listing *listing);
	/* Waited in vain: answers; NULL: replay_fail(). Whatever runs has its request at hand. */
	void (*fail)(struct parked *p, int error);
	uint64_t offset, size;
	void *data; /* owned: g_free() */
	/* After parked_local(): `fd` is the local file, O_RDWR. Answers. */
	void (*then)(struct parked *p, int fd);
	uint32_t operation; /* that wants bytes: enum lacuna_operation */
	bool plus, again;   /* again: a READ that failed just now */
	pthread_mutex_t lock;
	bool waits;   /* for what `kind` says, and nobody has ended it */
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
	pid_t tid;              /* who waits; 0: unknown */
	int64_t interrupted_ns; /* under lock: the first signal; 0: none */
	int64_t began_ns;       /* one deadline for all the waits of a look-up, or of a read */
	int refs, answered;     /* atomic: who parks, who resumes, the vigil */
	char name[];
};

/* `i`: a reference is taken over. */
struct parked *parked_new(struct server *s, fuse_req_t req, struct inode *i, const char *name);
/* After the reply. */
void parked_free(struct parked *p);
/* Bytes: true: all present, `p` is the caller's again. false: `p` is resumed on a thread of
 * the disk pool, or failed; the caller does not touch it again. */
bool parked_fill(struct parked *p, uint64_t ahead);
/* READ into the page cache that failed just now, by the same thread: what it may still wait for has
 * its deadline from then. A positive errno: that is over; 0: `p` may wait. */
int parked_again(struct parked *p);
/* A listing, or an entry's attributes: resumes `p` now or later, or fails it. */
void parked_list(struct parked *p, struct directory *d);
void parked_attributes(struct parked *p, struct directory *d, struct listing *l, uint32_t index);
/* A handler's verdict on these bytes (`cached`: for the page cache): resumes `p`, on any thread, or
 * fails it. false: nobody is to be asked. What the handler brought is in event.fd, which is the
 * caller's from then on. */
bool parked_ask(struct parked *p, uint64_t offset, uint64_t length, bool cached);
/* replay_waits_for(error), of what need not or cannot begin anew: resumes `p` on a thread of the
 * disk pool a moment later, or fails it. */
void parked_later(struct parked *p, int error);
/* Somebody has the inode for himself (claim.h): resumes `p` so when he is done, or fails it. */
void parked_claimed(struct parked *p);
/* Answers, or lets it begin anew (replay.h), and frees. */
void parked_fail(struct parked *p, int error);
/* change.c. What changes bytes: first in what `data` of a request points to. */
struct changing {
	uint64_t from, count;
	int (*permit)(struct parked *p); /* a positive errno; it may lessen `count` */
	store_change change;             /* is given this */
	void (*reply)(struct parked *p, int64_t n);
};
/* Does it, and answers: now or later; frees `p`. */
void parked_change(struct parked *p);
/* Cuts or lengthens the inode, which is kept, then `then` (`fd` may be -1). */
void parked_truncate(struct parked *p, uint64_t size);
/* Makes every byte of the inode local, then `then`, now or later; frees `p`. */
void parked_local(struct parked *p);
/* For the vigil: ends the wait if the caller dies. true: it is answered, or about to be. */
bool parked_end_dying(struct parked *p);
void parked_unref(struct parked *p);
/* Resumes `p` on a thread of the disk pool. */
void parked_to_disk(struct parked *p);
