/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/http/http_op.h"
#include <string.h>

#define LEAST_PART 4096u /* the least that a server may send of a longer range */
#define PARTS_FREE 16u   /* as many answers may be shorter */

/* A server may send less than the requested range; the rest is then requested. `received`: bytes of
 * all answers, `part_end`: the end of this answer, both from req->offset on. */
struct read_op {
	struct http_op op; /* first */
	uint64_t received, part_end;
	unsigned small_parts;
	bool begun;
	bool unsized; /* only the answer's end shows its length: its last byte waits for that */
	char last;
};

static struct source_read *read_request(struct http_op *op)
{
	return (struct source_read *)op->request;
}

static bool check_size(const struct source_read *req, uint64_t size, GError **error)
{
	if (size == req->size)
		return true;
	g_set_error(error, FETCH_ERROR, FETCH_CHANGED,
	            "changed at the source: %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT
	            " were listed",
	            size, req->size);
	return false;
}

static bool check_part(const struct exchange *x, struct source_read *req, GError **error)
{
	const struct reply *r = &x->reply;
	if (reply_type_is(r, "multipart/byteranges"))
		return op_protocol(error, "several ranges came where one was asked for");
	if (r->range != RANGE_GOOD || r->total == UINT64_MAX)
		return op_protocol(error, "HTTP 206 without a usable Content-Range");
	if (!check_size(req, r->total, error))
		return false;
	if (r->first != x->first || r->last > x->last)
		return op_protocol(error,
		                   "bytes %" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT
		                   " came, %" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT
		                   " were asked for",
		                   r->first, r->last, x->first, x->last);
	if (r->length >= 0 && (uint64_t)r->length != r->last - r->first + 1)
		return op_protocol(error, "its Content-Length contradicts its Content-Range");
	/* with a length, the bytes are those of a file that is stored coded, as listed */
	if (reply_is_coded(r) && r->length < 0)
		return op_protocol(error, "its bytes are coded, though identity was asked for");
	return true;
}

/* The server ignored Range and sends the whole file. */
static bool check_whole(const struct exchange *x, struct source_read *req, GError **error)
{
	const struct reply *r = &x->reply;
	if (reply_is_html(r) && (r->length < 0 || (uint64_t)r->length != req->size))
		return op_protocol(error, "HTML came where a file should be");
	/* a coded file of the listed size is the file as stored at the server */
	if (reply_is_coded(r) && (r->length < 0 || (uint64_t)r->length != req->size))
		return op_protocol(error, "its bytes are coded, though identity was asked for");
	return r->length < 0 || check_size(req, (uint64_t)r->length, error);
}

static bool check_unsatisfied(const struct exchange *x, struct source_read *req, GError **error)
{
	const struct reply *r = &x->reply;
	if (r->range == RANGE_UNSATISFIED && r->total != UINT64_MAX &&
	    !check_size(req, r->total, error))
		return false;
	g_set_error(error, FETCH_ERROR,
	            r->range == RANGE_UNSATISFIED ? FETCH_PROTOCOL : FETCH_CHANGED,
	            "HTTP 416: the file is shorter now");
	return false;
}

static bool check_version(struct read_op *r, struct source_read *req, source_version *out,
                          GError **error)
{
	source_version pinned = r->begun ? req->version : req->pinned;
	source_version version = op_version(&r->op, req->size);
	if (pinned == 0 && !op_meets(&r->op, req->demand, req->mtime_ns, error))
		return false;
	if (pinned != 0 && version != pinned) {
		bool alone = !r->op.http->options.no_etag && r->op.x.reply.etag != NULL &&
		             op_as_listed(&r->op, req->mtime_ns);
		g_set_error(
		        error, FETCH_ERROR, FETCH_CHANGED,
		        "changed at the source: its %s differs%s",
		        alone ? "ETag" : "ETag or Last-Modified",
		        alone ? ", its size and Last-Modified are as listed (several servers or "
		                "mirrors? -o etag=no takes them for one)"
		              : "");
		return false;
	}
	*out = version;
	return true;
}

/* Refuses a server that sends a few bytes at a time: a read would take as many requests. */
static bool check_progress(struct read_op *r, const struct exchange *x, GError **error)
{
	const struct reply *reply = &x->reply;
	if (reply->last == x->last || reply->last - reply->first + 1 >= LEAST_PART ||
	    ++r->small_parts <= PARTS_FREE)
		return true;
	return op_protocol(error, "the server answers with less than %u bytes at a time",
	                   LEAST_PART);
}

static bool check_answer(struct read_op *r, struct source_read *req, GError **error)
{
	const struct exchange *x = &r->op.x;
	bool good;
	switch (x->reply.status) {
	case 206:
		good = check_part(x, req, error) && check_progress(r, x, error);
		break;
	case 200:
		good = check_whole(x, req, error);
		break;
	case 416:
		good = check_unsatisfied(x, req, error);
		break;
	default:
		good = op_refused(&r->op, error);
	}
	return good && check_version(r, req, &req->version, error);
}

static bool local(GError **error, int result)
{
	if (result != 0)
		g_set_error_literal(error, LOCAL_ERROR, -result, g_strerror(-result));
	return result == 0;
}

static bool read_head(struct http_op *op, GError **error)
{
	struct read_op *r = (struct read_op *)op;
	struct source_read *req = read_request(op);
	const struct exchange *x = &op->x;
	bool part = x->reply.status == 206;
	/* the server sent a part before, and now the whole file from its start: the caller's retry
	 * can sort that out, this cannot */
	if (r->begun && x->reply.status == 200)
		return op_protocol(error, "a server that knows ranges, and then does not");
	if (!check_answer(r, req, error))
		return false;
	r->unsized = x->reply.length < 0 || x->reply.framed;
	if (r->begun) {
		r->part_end = x->reply.last + 1 - req->offset;
		return true;
	}
	r->begun = true;
	req->offset = part ? x->first : 0;
	req->length = part ? x->last - x->first + 1 : req->size;
	r->part_end = part ? x->reply.last + 1 - x->first : req->size;
	return local(error, req->begin(req));
}

static bool read_body(struct http_op *op, const char *data, size_t length, GError **error)
{
	struct read_op *r = (struct read_op *)op;
	struct source_read *req = read_request(op);
	uint64_t at = req->offset + r->received;
	if (length > r->part_end - r->received) {
		bool listed = op->x.reply.status == 200;
		g_set_error(error, FETCH_ERROR, listed ? FETCH_CHANGED : FETCH_PROTOCOL,
		            "got more than the %s %" G_GUINT64_FORMAT " bytes",
		            listed ? "listed" : "announced", r->part_end);
		return false;
	}
	r->received += length;
	if (r->unsized && length > 0 && r->received == r->part_end)
		r->last = data[--length];
	return length == 0 || local(error, req->data(req, at, data, length));
}

/* The body ended: checks its length, delivers a last byte held back, and sets *more if a part is
 * missing. */
static GError *read_ended(struct read_op *r, struct source_read *req, bool *more)
{
	GError *error = NULL;
	if (r->received < r->part_end)
		op_protocol(&error,
		            "cut short: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " bytes came",
		            r->received, r->part_end);
	else if (!r->unsized ||
	         local(&error, req->data(req, req->offset + r->received - 1, &r->last, 1)))
		*more = r->received < req->length;
	return error;
}

static void read_finish(struct http_op *op, const GError *error)
{
	struct read_op *r = (struct read_op *)op;
	struct source_read *req = read_request(op);
	bool more = false;
	g_autoptr(GError) wrong = error == NULL ? read_ended(r, req, &more) : NULL;
	if (more) {
		op->x.first = req->offset + r->received;
		op_submit(op);
		return;
	}
	if (wrong != NULL)
		op_name_error(op, &wrong);
	op_free(op);
	req->base.done(&req->base, wrong != NULL ? wrong : error);
}

void http_read(struct source *s, struct source_read *req)
{
	static const struct http_kind kind = {read_head, read_body, read_finish};
	struct read_op *r = g_new0(struct read_op, 1);
	op_init(&r->op, (struct http *)s, &kind, &req->base, "");
	r->op.x.ranged = true;
	r->op.x.first = req->offset;
	r->op.x.last = req->offset + MIN(req->length, req->size - req->offset) - 1;
	op_submit(&r->op);
}
