/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Requests that found no space in the store, and the evictor (fuse/evict/evictor.h), which frees
 * some.
 *
 *     request ── ENOSPC, shortage_may_end() ──▶ waits for s->shortage in the wait queue,
 *                   │                           shortage_tell() ──▶ a round of evictions ──▶ again
 *                   └── no hope: the caller gets ENOSPC
 *
 * Ends:    a round that frees nothing ends hope for a while: waiting requests fail, and later ones
 *          fail at once
 * Locking: its own mutex, never held across a call; any thread
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct server;
struct shortage;

struct shortage *shortage_new(void);
void shortage_free(struct shortage *q);

/* May a request that failed with `error`, and needs `need` bytes, find space after a round?
 * *seen: of the request, 0 at first. A request that fails although there is space is tried again
 * only if data was evicted since it failed last: others may have been faster, but other limits have
 * the same errno (the size of an xattr, of a directory). */
bool shortage_may_end(struct server *s, int error, uint64_t need, uint64_t *seen);
void shortage_tell(struct server *s, int error, uint64_t need); /* after its wait has begun */

/* For the evictor: */
struct wish {
	bool any;      /* requests wait */
	bool unseen;   /* for a limit that the file system's numbers do not show: EDQUOT */
	uint64_t need; /* bytes, of the largest */
};
/* Waits for a wish, `pause_ns` at most. false: shortage_stop(). */
bool shortage_await(struct shortage *q, int64_t pause_ns, struct wish *out);
/* A round freed something. */
void shortage_eased(struct shortage *q);
/* Until then (CLOCK_MONOTONIC) no shortage ends. */
void shortage_hopeless(struct shortage *q, int64_t until_ns);
void shortage_stop(struct shortage *q);
bool shortage_stopped(struct shortage *q);
