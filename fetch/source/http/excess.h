/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Bytes that follow an answer on its connection, beyond the length that it told: the length is
 * another body's, or this one began before its head had ended (an empty line too many, as a script
 * prints before it sends a file). All else in such an answer is right, and its bytes are not the
 * file's.
 * Limits:  what has not come when the last byte has is not seen, for nothing tells that nothing
 *          comes; and the rest of a long answer has been used by then
 * Locking: the network thread's
 * Source:  RFC 9112, 6.3
 */
#pragma once
#include "fetch/source/http/reply.h"

struct excess {
	int fd;              /* of the connection; -1: it is not to be looked at */
	uint64_t told, left; /* of the body; `told` 0: it does not count */
	bool found;
};

/* The body follows whose head is `r`. false: how long it is does not count. */
bool excess_expect(struct excess *x, const struct reply *r);
/* libcurl said what it does; it drops bytes that came with the head and are too many. */
void excess_said(struct excess *x, const char *text, size_t length);
/* `length` bytes of the body came. false with FETCH_PROTOCOL: and more than all of it. */
bool excess_body(struct excess *x, size_t length, GError **error);
/* The same where the answer is over. */
bool excess_over(const struct excess *x, GError **error);
