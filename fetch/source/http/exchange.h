/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One HTTP request and its answer, as the transport carries it, and its timeouts: no connection
 * in time, no answer, no progress, or hardly any.
 * Until the head of its answer is complete a server may take as long as a reader waits (a tape,
 * a sleeping disk, a cache that asks its origin): the stall timeout applies to the body.
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
	unsigned whole_ms;         /* limit for the whole answer; 0 = none while it progresses */
	const char *accept;        /* NULL = any */
	const char *if_none_match; /* NULL = none; no control characters */
	const char *if_modified_since; /* the same */
	/* On the network thread, before it is sent; false ends the exchange with *error.
	 * NULL: no-op. */
	bool (*start)(struct exchange *x, GError **error);
	/* The head is in `reply`. false ends the exchange with *error. */
	bool (*head)(struct exchange *x, GError **error);
	/* `data` is libcurl's buffer. false: as head(). Sets `held` to pause the body until
	 * transport_resume(), and never clears it: libcurl passes on what it has read already, in
	 * pieces of 16 KiB, and the body would stay paused. */
	bool (*body)(struct exchange *x, const char *data, size_t length, GError **error);
	/* NULL: the whole answer arrived. The transport does not use `x` after it. */
	void (*done)(struct exchange *x, const GError *error);

	bool held;

	struct reply reply;  /* out; the submitter clears it */
	unsigned generation; /* out: of the credentials that it was sent with */
	bool crowded;        /* out, in done(): refused as one too many; fewer are allowed now */

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
	unsigned wait_ms; /* until a head is complete, if it is more than stall_ms */
	bool cookies;     /* kept in memory, for trusted exchanges */
};

/* For the transport: */
void exchange_reset(struct exchange *x);
void exchange_begun(struct exchange *x, int64_t now);
void exchange_arrived(struct exchange *x, size_t bytes, int64_t now);
/* Restarts the timeouts: the network thread was not running. */
void exchange_excuse(struct exchange *x, int64_t now);
/* NULL: not overdue. `alive_ns`: when data last arrived for any exchange; an exchange without a
 * connection waits as long as others progress. */
GError *exchange_overdue(struct exchange *x, const struct transport_options *options,
                         int64_t alive_ns, int64_t now);
