/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A source that asks before it reads: somebody else brings the bytes, has them fetched, or denies
 * them.
 *
 *      read ──ask()──▶ answer ── allow: the bytes of `fd`
 *               │         ├──── fetch: the inner source reads, and what is in `fd` lies over it
 *               │         └──── deny: LOCAL_ERROR with the errno
 *               └ nobody is to be asked: the inner source reads
 *
 * Shape:   listings and attributes are the inner source's. A version, too: what is brought counts
 *          as of the version that the inner source has then, or, if it tells none, of one that
 *          its size and time make
 * Owns:    the inner source; a question is the asked one's from ask() to its answer
 * Locking: ask() is called with none held. question_answer() from any thread, also within ask()
 *          if the verdict is VERDICT_FETCH
 * Errors:  FETCH_ERROR, LOCAL_ERROR
 */
#pragma once
#include "fetch/source/base/source.h"

struct question {
	const char *path;        /* borrowed, of the source */
	uint64_t offset, length; /* bytes wanted, not past the end */
	uint64_t size;           /* of the file */
	struct source_cause cause;
	bool unasked; /* the asked one's to set: nobody was asked, and what the inner source
	               * delivers beyond the range counts, too */
	void *user;   /* the asked one's */
};

enum verdict {
	VERDICT_ALLOW, /* what was put into the file is the range */
	VERDICT_FETCH, /* it may have holes, or may not be there */
	VERDICT_DENY,
	VERDICT_CANCEL, /* it is over: nobody will answer */
};

struct interceptor_ops {
	/* false: nobody is to be asked. true: question_answer() will be called, once. */
	bool (*ask)(void *user, struct question *q);
	/* What was asked has ended; positive errno, 0: the bytes are there. Then it is freed. */
	void (*ended)(void *user, struct question *q, int error);
	/* Before the end: what waits is answered now, and nothing is asked any more. */
	void (*stop)(void *user);
};

struct source *interceptor_new(struct source *inner, const struct interceptor_ops *ops, void *user);
/* `fd`: where bytes were put, at their offsets, taken over; what is a hole there was not brought;
 * -1: none. `error`: the positive errno of VERDICT_DENY. */
void question_answer(struct question *q, enum verdict verdict, int error, int fd);
