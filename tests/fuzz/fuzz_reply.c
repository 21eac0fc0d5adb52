/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The head of an answer, line by line. */
#include <stdlib.h>
#include <string.h>
#include "fetch/source/http/reply.h"

static void check(bool true_or_abort)
{
	if (!true_or_abort)
		abort();
}

static void check_reply(const struct reply *r)
{
	int64_t ns = -1;
	check(r->status == 0 || (r->status >= 100 && r->status <= 999));
	check(r->length >= -1);
	check(reply_retry_after(r, 1) <= 3600 && reply_retry_after(r, INT64_MAX) <= 3600);
	if (r->range == RANGE_GOOD)
		check(r->first <= r->last && r->last < r->total && r->last <= INT64_MAX);
	check(reply_version(r, 7, true) != 0);
	check(reply_mtime(r, &ns) || ns == -1);
	reply_type_is(r, "text/html");
	reply_is_coded(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reply r = {.length = -1};
	/* as libcurl does it: a line at a time, in memory of its own, with no NUL after it */
	while (size > 0) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t length = end != NULL ? (size_t)(end - data) + 1 : size;
		char *line = malloc(length);
		memcpy(line, data, length);
		reply_feed(&r, line, length);
		free(line);
		check_reply(&r);
		data += length;
		size -= length;
	}
	reply_clear(&r);
	return 0;
}
