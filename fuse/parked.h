/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A request that waits for bytes or a listing. The session's thread goes on; whoever makes
 * them present resumes the request, on a thread of the disk pool where that may block.
 * Owns:    the request and a reference on the inode
 * Errors:  EINTR at once after a fatal signal, and after any signal where `interruptible`:
 *          a cached READ is not, for EINTR to a fault would become EFAULT (kernel-facts D5)
 */
#pragma once
#include "fuse/event.h"
#include "fuse/inode.h"
#include "fuse/server.h"

struct parked {
	struct server *server;
	fuse_req_t req;
	struct inode *inode;
	struct content *content; /* what a READ waits for: a reference */
	/* What was wanted is there: answer, then parked_free(). `listing` is borrowed. */
	void (*resume)(struct parked *p, struct listing *listing);
	/* Waited in vain: answers; NULL: the errno. */
	void (*fail)(struct parked *p, int error);
	uint64_t offset, size;
	void *data; /* owned: g_free() */
	/* After parked_local(): `fd` is the local file, O_RDWR. Answers. */
	void (*then)(struct parked *p, int fd);
	uint32_t operation; /* that wants bytes: enum lacuna_operation */
	bool plus, interruptible;
	enum { PARKED_FILL, PARKED_LIST, PARKED_EVENT } kind; /* which of these */
	union {
		struct fill_wait fill;
		struct lister_wait list;
		struct event event;
	};
	struct pool_job job;
	int refs;        /* atomic: who parks, who resumes, the vigil */
	int interrupted; /* atomic */
	int over;        /* atomic: somebody answers it, or goes on with it */
	char name[];
};

/* `i`: a reference is taken over. */
struct parked *parked_new(struct server *s, fuse_req_t req, struct inode *i, const char *name);
/* After the reply. */
void parked_free(struct parked *p);
/* Bytes: true: all present, `p` is the caller's again. false: `p` is resumed on a thread of
 * the disk pool, or failed; the caller does not touch it again. */
bool parked_fill(struct parked *p, uint64_t ahead);
/* A listing, or an entry's attributes: resumes `p` now or later, or fails it. */
void parked_list(struct parked *p, struct directory *d);
void parked_attributes(struct parked *p, struct directory *d, struct listing *l, uint32_t index);
/* A handler's verdict on these bytes (`cached`: for the page cache): resumes `p`, on any thread, or
 * fails it. false: nobody is to be asked. What the handler brought is in event.fd, which is the
 * caller's from then on. */
bool parked_ask(struct parked *p, uint64_t offset, uint64_t length, bool cached);
/* Answers and frees. */
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
/* Ends the wait of a read whose process has a fatal signal pending. true: it is over, by this
 * or otherwise. */
bool parked_end_dying(struct parked *p);
/* Resumes `p` on a thread of the disk pool. */
void parked_to_disk(struct parked *p);
