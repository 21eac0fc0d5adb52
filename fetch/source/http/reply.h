/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The head of one HTTP answer, as far as a source uses it.
 * Shape:   fed line by line; a status line begins a new head (after 1xx)
 * Owns:    its strings; NULL = no such header
 * Trust:   every byte comes from outside: numbers that are not plain decimal or
 *          exceed 2^63 are ignored, a header that contradicts itself is bad
 * Source:  RFC 9110
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum reply_range { RANGE_NONE, RANGE_GOOD, RANGE_UNSATISFIED, RANGE_BAD };

struct reply {
	unsigned status;
	int64_t length;         /* Content-Length; -1 = unknown */
	bool framed;            /* the end of a body of unknown length is marked (chunked) */
	enum reply_range range; /* Content-Range */
	uint64_t first, last;   /* RANGE_GOOD */
	uint64_t total;         /* RANGE_GOOD, RANGE_UNSATISFIED; UINT64_MAX = unknown */
	bool sets_cookie;
	char *etag, *modified, *type, *location, *encoding, *retry_after, *date;
};

void reply_clear(struct reply *r);
/* One line as received, line end included. true: the head ends here. */
bool reply_feed(struct reply *r, const char *line, size_t length);

/* See source.h; never 0. A weak ETag is as good as a strong one of the same value: some servers
 * weaken it in one answer and not in the next. `etag` false: the ETag is ignored if there is
 * a Last-Modified. */
uint64_t reply_version(const struct reply *r, uint64_t size, bool etag);
/* Last-Modified in ns since 1970; false: missing or invalid. */
bool reply_mtime(const struct reply *r, int64_t *ns);
/* Retry-After in seconds from now on, at most 3600; 0 = none. A date is relative to the
 * answer's own Date, or to `now_s` (since 1970) where there is none. */
unsigned reply_retry_after(const struct reply *r, int64_t now_s);
/* "text/html" for "Text/HTML; charset=…". */
bool reply_type_is(const struct reply *r, const char *type);
bool reply_is_html(const struct reply *r);
/* The body is coded (gzip, …): its bytes are not the file's. */
bool reply_is_coded(const struct reply *r);
