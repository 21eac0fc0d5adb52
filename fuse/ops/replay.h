/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A request that cannot be served yet: the daemon is short of descriptors, or another request has
 * claimed the file (claim.h). It gets no answer, and begins anew a moment later from the kernel's
 * message, on a thread of the disk pool: until it succeeds, its time is up, or its caller dies.
 * An operation may fail so wherever all its earlier steps can be repeated; those that cannot, it
 * skips by replay_is_done().
 *
 *     at hand:  the request that this thread works for; others hold references (parked.h)
 *
 * Locking: the request at hand is the thread's own; one thread at a time has the rest
 * Errors:  EMFILE, ENFILE and CLAIM_BUSY are waited for, wait_timeout at most, and are EIO
 * then: neither is a limit of the caller's. EINTR: the caller dies
 */
#pragma once
#include <stdbool.h>
#include "fuse/inode/server.h"

/* The kernel's mark of a request that a worker before this one has read (FUSE_UNIQUE_RESEND). */
#define REPLAY_SENT_AGAIN (UINT64_C(1) << 63)

/* As fuse_session_process_buf(), with the request at hand. */
void replay_process(struct server *s, const struct fuse_buf *message);
/* Is the error transient: does it end once other requests are done? */
bool replay_waits_for(int error);
/* As reply_err(), for the request at hand, but retries after a transient error. Without a
 * lock. */
void replay_fail(fuse_req_t req, int error);
/* An earlier try has done the step that must not be repeated. */
bool replay_is_done(void);
/* Call after such a step, before replay_fail(). */
void replay_set_done(void);

/* The kernel's number of the request at hand, the same when it is sent again; 0: not known. */
uint64_t replay_unique(void);

struct replay;
/* A reference to the request at hand; NULL: it was too large to be kept. */
struct replay *replay_get(void);
/* NULL: nothing */
void replay_put(struct replay *r);

struct replay_hand {
	const struct fuse_buf *message; /* borrowed; NULL: see `replay` */
	struct replay *replay;          /* a reference */
	uint64_t worked;                /* what the thread worked on before (strikes.h) */
};
/* Takes `r` (NULL: none) at hand until replay_switch_back(). */
struct replay_hand replay_switch(struct replay *r);
void replay_switch_back(struct replay_hand before);
