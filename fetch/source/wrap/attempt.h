/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A caller's request as a wrapper sends it to an inner source, once or several times, to the same
 * source or to another.
 *
 *      attempt_list() … ──▶ attempt_start() ──▶ ended() ──▶ attempt_finish()
 *                                 ▲                │
 *                                 └────────────────┘
 *
 * Reads:   continue at the first byte not delivered yet, pinned to the version of the
 *          first answer; begin() is called once; data of a later answer outside the
 *          missing range (a server that ignores Range) is dropped
 * Owns:    nothing; a wrapper embeds it, first, in an object of its own from g_malloc()
 * Locking: its wrapper's; attempt and retry_ns of the caller's request are stored atomically:
 *          status reads them meanwhile
 */
#pragma once
#include "fetch/source/base/source.h"

struct attempt {
	union {
		struct source_request base;
		struct source_list list;
		struct source_stat stat;
		struct source_read read;
	} in; /* the request of the inner source; first: an attempt is found from it */
	struct source_request *request; /* the caller's */
	/* The inner source has answered. `error` NULL: the caller has all that it wants. */
	void (*ended)(struct attempt *a, const GError *error);
	int64_t since_ns; /* of its begin, or its last byte */
	bool begun;       /* read: the caller's begin() was called */
	/* private */
	bool elsewhere; /* of any try */
	void (*send)(struct attempt *a, struct source *inner);
	void (*give)(struct attempt *a, const GError *error); /* NULL: no outputs */
	uint64_t delivered, end; /* read: delivered up to this offset, of all wanted */
	bool enough;             /* read: all the caller wants is delivered */
};

/* `a` is zeroed; the caller then sets `ended`. */
void attempt_list(struct attempt *a, struct source_list *req);
void attempt_stat(struct attempt *a, struct source_stat *req);
void attempt_read(struct attempt *a, struct source_read *req);
/* A read: is nothing left to be requested? */
bool attempt_delivered(const struct attempt *a);
/* Sends the request, or what is left of it, to `inner`: not after attempt_delivered(). */
void attempt_start(struct attempt *a, struct source *inner);
/* Frees `a`, then ends the caller's request. */
void attempt_finish(struct attempt *a, const GError *error);
