/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A source that asks handlers before it reads: a handler supplies the data, lets the inner source
 * supply it, or denies the read.
 *
 *      read ──ask()──▶ answer ── allow: the data of `fd`
 *               │         ├──── fetch: the inner source reads; the data of `fd` replaces its data
 *               │         └──── deny: DENIAL_ERROR with the errno
 *               └ no handler to ask: the inner source reads
 *
 * Shape:   listings and attributes are the inner source's. A version, too: supplied data gets
 *          the version that the inner source has then, or, if it has none, one made of
 *          size and time
 * Owns:    the inner source; a question belongs to the ops from ask() to its answer
 * Locking: ask() is called without a lock. question_answer() from any thread, also within ask()
 *          if the verdict is VERDICT_FETCH
 * Errors:  FETCH_ERROR, LOCAL_ERROR, DENIAL_ERROR
 */
#pragma once
#include "fetch/source/base/source.h"

struct question {
	const char *path;        /* borrowed, of the source */
	uint64_t offset, length; /* requested range, not past the end */
	uint64_t size;           /* of the file */
	struct source_cause cause;
	bool unasked; /* set by the ops: no handler was asked, so data that the inner source
	               * delivers beyond the range may be used */
	void *user;   /* of the ops */
};

enum verdict {
	VERDICT_ALLOW, /* the scratch file has the whole range */
	VERDICT_FETCH, /* the scratch file may have holes, or be missing */
	VERDICT_DENY,
	VERDICT_CANCEL, /* the mount ends: no handler will answer */
};

struct interceptor_ops {
	/* false: no handler to ask. true: question_answer() will be called, once. */
	bool (*ask)(void *user, struct question *q);
	/* The read of the question ended: positive errno, 0: data delivered. Then `q` is freed. */
	void (*ended)(void *user, struct question *q, int error);
	/* Before the end: pending questions are answered now, and no more are asked. */
	void (*stop)(void *user);
};

struct source *interceptor_new(struct source *inner, const struct interceptor_ops *ops, void *user);
/* `fd`: the scratch file with the supplied data, taken over; a hole is data not supplied; -1: none.
 * `error`: the positive errno of VERDICT_DENY. */
void question_answer(struct question *q, enum verdict verdict, int error, int fd);
