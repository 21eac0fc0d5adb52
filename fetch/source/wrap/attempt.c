/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/wrap/attempt.h"
#include <errno.h>
#include "fetch/base/pool.h"

bool attempt_delivered(const struct attempt *a)
{
	return a->begun && a->delivered == a->end;
}

static void attempt_done(struct source_request *in, const GError *error)
{
	struct attempt *a = (struct attempt *)in;
	/* a failure after the last byte does not matter */
	a->elsewhere |= in->elsewhere;
	bool whole = attempt_delivered(a) && fetch_error_transient(error);
	a->ended(a, a->enough || whole ? NULL : error);
}

static void attempt_init(struct attempt *a, struct source_request *request)
{
	a->request = request;
	a->in.base.path = request->path;
	a->since_ns = clock_now();
}

void attempt_start(struct attempt *a, struct source *inner)
{
	__atomic_store_n(&a->request->retry_ns, 0, __ATOMIC_RELAXED);
	a->in.base.done = attempt_done;
	a->send(a, inner);
}

void attempt_finish(struct attempt *a, const GError *error)
{
	struct source_request *request = a->request;
	if (a->give != NULL)
		a->give(a, error);
	request->elsewhere = a->elsewhere;
	g_free(a);
	request->done(request, error);
}

/* ---- list and stat ---- */

static void list_send(struct attempt *a, struct source *inner)
{
	source_list(inner, &a->in.list);
}

static void list_give(struct attempt *a, const GError *error)
{
	((struct source_list *)a->request)->listing = a->in.list.listing;
}

void attempt_list(struct attempt *a, struct source_list *req)
{
	attempt_init(a, &req->base);
	a->in.list.previous = req->previous;
	a->send = list_send;
	a->give = list_give;
}

static void stat_send(struct attempt *a, struct source *inner)
{
	source_stat(inner, &a->in.stat);
}

static void stat_give(struct attempt *a, const GError *error)
{
	struct source_stat *req = (struct source_stat *)a->request;
	if (error != NULL)
		return;
	req->size = a->in.stat.size;
	req->mtime_ns = a->in.stat.mtime_ns;
	req->mtime_known = a->in.stat.mtime_known;
	req->version = a->in.stat.version;
}

void attempt_stat(struct attempt *a, struct source_stat *req)
{
	attempt_init(a, &req->base);
	a->in.stat.listed = req->listed;
	a->in.stat.listed_ns = req->listed_ns;
	a->in.stat.demand = req->demand;
	a->send = stat_send;
	a->give = stat_give;
}

/* ---- read ---- */

static struct source_read *read_request(const struct attempt *a)
{
	return (struct source_read *)a->request;
}

static uint64_t read_end(const struct source_read *req)
{
	return req->offset + req->length;
}

static int read_begin(struct source_read *in)
{
	struct attempt *a = (struct attempt *)in;
	struct source_read *req = read_request(a);
	if (a->begun)
		return 0;
	a->begun = true;
	req->offset = in->offset;
	req->length = in->length;
	req->version = in->version;
	a->delivered = in->offset;
	a->end = read_end(in);
	return req->begin(req);
}

static int read_lend(struct source_read *in, uint64_t offset, uint64_t length)
{
	struct source_read *req = read_request((struct attempt *)in);
	return req->lend ? req->lend(req, offset, length) : -1;
}

static void read_give_back(struct source_read *in)
{
	struct source_read *req = read_request((struct attempt *)in);
	req->give_back(req);
}

static int read_data(struct source_read *in, uint64_t offset, const void *buffer, size_t length)
{
	struct attempt *a = (struct attempt *)in;
	uint64_t from = MAX(offset, a->delivered);
	uint64_t to = MIN(offset + length, a->end);
	if (from < to) {
		struct source_read *req = read_request(a);
		a->since_ns = clock_now();
		const char *bytes = buffer != NULL ? (const char *)buffer + (from - offset) : NULL;
		a->delivered = to;
		int result = req->data(req, from, bytes, to - from);
		if (result != 0)
			return result;
	}
	/* the server sends the whole file again: the rest is not needed */
	a->enough = a->delivered == a->end && offset + length < read_end(in);
	return a->enough ? -ECANCELED : 0;
}

static void read_send(struct attempt *a, struct source *inner)
{
	struct source_read *req = read_request(a), *in = &a->in.read;
	in->begin = read_begin;
	in->data = read_data;
	in->size = req->size;
	in->mtime_ns = req->mtime_ns;
	in->grain = req->grain;
	in->proof = req->proof;
	in->probe = req->probe;
	in->lend = read_lend;
	in->give_back = read_give_back;
	in->offset = a->begun ? a->delivered : req->offset;
	in->length = read_end(req) - in->offset;
	in->pinned = a->begun ? req->version : req->pinned;
	source_read(inner, in);
}

void attempt_read(struct attempt *a, struct source_read *req)
{
	attempt_init(a, &req->base);
	a->in.read.demand = req->demand;
	a->send = read_send;
}
