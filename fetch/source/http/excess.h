/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Detects bytes that follow an answer on its connection, beyond its Content-Length: the length is
 * another body's, or the body began before its head had ended (an extra empty line, as a script
 * prints before it sends a file). Such an answer looks correct, but its bytes are not the
 * file's.
 * Limits:  excess that has not arrived together with the last byte goes unnoticed, as nothing
 *          announces it; and the rest of a long answer has been used by then
 * Locking: the network thread's
 * Source:  RFC 9112, 6.3
 */
#pragma once
#include "fetch/source/http/reply.h"

struct excess {
	int fd;                   /* of the connection; -1: do not look at it */
	uint64_t announced, left; /* Content-Length, and its rest; `announced` 0: not checked */
	bool found;
};

/* The body of head `r` follows. false: its length is not checked. */
bool excess_expect(struct excess *x, const struct reply *r);
/* A debug message of libcurl, which drops excess bytes that came with the head. */
void excess_said(struct excess *x, const char *text, size_t length);
/* `length` bytes of the body arrived. false with FETCH_PROTOCOL: and excess bytes. */
bool excess_body(struct excess *x, size_t length, GError **error);
/* The answer ended. false with FETCH_PROTOCOL: excess bytes were found. */
bool excess_over(const struct excess *x, GError **error);
