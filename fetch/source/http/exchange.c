/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/http/exchange.h"
#include "fetch/base/error.h"

#define SLOWEST 100u /* bytes a second; less is no progress */
#define SLACK_NS INT64_C(100000000)
#define SECOND_NS INT64_C(1000000000)
#define MS_NS INT64_C(1000000)

void exchange_reset(struct exchange *x)
{
	x->next = x->previous = NULL;
	x->easy = NULL;
	x->error = NULL;
	x->sent = x->head_seen = x->crowded = x->held = x->resume = false;
	x->bytes = x->window_bytes = 0;
	x->sent_ns = 0;
	x->reply.length = -1;
}

void exchange_begun(struct exchange *x, int64_t now)
{
	x->beside = 0;
	x->begun_ns = x->progress_ns = x->window_ns = now;
}

void exchange_arrived(struct exchange *x, size_t bytes, int64_t now)
{
	x->bytes += bytes;
	x->progress_ns = now;
}

void exchange_excuse(struct exchange *x, int64_t now)
{
	x->progress_ns = x->window_ns = now;
	x->sent_ns = x->sent ? now : 0;
	x->window_bytes = x->bytes;
}

static bool is_stalled(struct exchange *x, int64_t stall, int64_t now)
{
	if (now - x->progress_ns > stall)
		return true;
	if (now - x->window_ns <= stall)
		return false;
	/* an exchange that ends within the window is not checked */
	bool slow = x->bytes - x->window_bytes < (uint64_t)(stall / SECOND_NS) * SLOWEST;
	x->window_ns = now;
	x->window_bytes = x->bytes;
	return slow;
}

GError *exchange_overdue(struct exchange *x, const struct transport_options *options,
                         int64_t alive_ns, int64_t now)
{
	int64_t since = MAX(x->progress_ns, alive_ns);
	if (!x->sent && now - since > options->connect_ms * MS_NS + SLACK_NS)
		return g_error_new(FETCH_ERROR, FETCH_TIMEOUT, "no connection within %u ms",
		                   options->connect_ms);
	if (x->whole_ms != 0 && now - x->begun_ns > x->whole_ms * MS_NS)
		return g_error_new(FETCH_ERROR, FETCH_TIMEOUT,
		                   "incomplete after %u ms, with %" G_GUINT64_FORMAT " bytes",
		                   x->whole_ms, x->bytes);
	unsigned head_ms = MAX(options->wait_ms, options->stall_ms);
	if (x->sent && !x->head_seen) {
		if (now - x->sent_ns <= head_ms * MS_NS)
			return NULL;
		return g_error_new(
		        FETCH_ERROR, FETCH_TIMEOUT,
		        "no complete answer header within %u ms, after %" G_GUINT64_FORMAT " bytes",
		        head_ms, x->bytes);
	}
	if (x->sent && is_stalled(x, options->stall_ms * MS_NS, now))
		return g_error_new(FETCH_ERROR, FETCH_TIMEOUT,
		                   "no progress for %u ms, after %" G_GUINT64_FORMAT " bytes",
		                   options->stall_ms, x->bytes);
	return NULL;
}
