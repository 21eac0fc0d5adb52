/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One HTTP request and its answer, as the transport carries it, and when it has taken
 * too long: no connection in time, no answer, nothing more arriving, or next to nothing.
 * Until the head of its answer is whole a server may take as long as a reader waits (a tape,
 * a disk that sleeps, a cache that asks its origin): a stall is of what has begun to come.
 * Units:   ns, CLOCK_MONOTONIC; options in ms
 * Owns:    nothing; an exchange is its submitter's
 * Locking: the submitter's until transport_submit(), the network thread's until done()
 */
#pragma once
#include "fetch/source/http/reply.h"

struct exchange {
	/* in; fixed while under way */
	const char *url; /* without credentials */
	bool head_only;  /* HEAD instead of GET */
	bool trusted;    /* credentials and the user's headers go with it */
	bool ranged;     /* Range: bytes=first-last */
	uint64_t first, last;
	unsigned whole_ms;             /* the whole answer is there by then; 0 = while it goes on */
	const char *accept;            /* NULL = any */
	const char *if_none_match;     /* NULL = none; no control characters */
	const char *if_modified_since; /* the same */
	/* On the network thread, before it is sent; false ends the exchange with *error.
	 * NULL: nothing. */
	bool (*start)(struct exchange *x, GError **error);
	/* The head is in `reply`. false ends the exchange with *error. */
	bool (*head)(struct exchange *x, GError **error);
	/* The library's own buffer. false: as head(). Sets `held` where it wants nothing more
	 * before transport_resume(). */
	bool (*body)(struct exchange *x, const char *data, size_t length, GError **error);
	/* NULL: the whole answer came. The last touch. */
	void (*done)(struct exchange *x, const GError *error);

	bool held;

	struct reply reply; /* out; the submitter clears it */
	bool crowded;       /* out, in done(): refused as one of too many, who are fewer now */

	/* private */
	GError *error;
	struct easy *easy;
	struct exchange *next, *previous;
	bool sent, head_seen;
	bool resume;     /* under the transport's lock */
	unsigned beside; /* under way when it began, itself counted */
	uint64_t bytes, window_bytes;
	int64_t begun_ns, sent_ns, progress_ns, window_ns;
};

struct transport_options {
	unsigned connect_ms, stall_ms, connections; /* none is 0 */
	unsigned wait_ms; /* until a head is whole, if it is more than stall_ms */
	bool cookies;     /* kept in memory, for exchanges that are trusted */
};

/* For the transport: */
void exchange_reset(struct exchange *x);
void exchange_begun(struct exchange *x, int64_t now);
void exchange_arrived(struct exchange *x, size_t bytes, int64_t now);
/* Time during which nobody looked does not count. */
void exchange_excuse(struct exchange *x, int64_t now);
/* NULL: it may go on. `alive_ns`: when anything last arrived for any exchange; one that
 * waits for a connection waits as long as others get on. */
GError *exchange_overdue(struct exchange *x, const struct transport_options *options,
                         int64_t alive_ns, int64_t now);
