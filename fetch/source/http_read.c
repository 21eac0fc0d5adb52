/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/http_op.h"
#include <string.h>

struct read_op {
	struct http_op op; /* first */
	uint64_t received;
};

static struct source_read *read_request(struct http_op *op)
{
	return (struct source_read *)op->request;
}

static bool protocol(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool protocol(GError **error, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	g_autofree char *text = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	g_set_error_literal(error, FETCH_ERROR, FETCH_PROTOCOL, text);
	return false;
}

static bool is_html(const struct reply *r)
{
	return reply_type_is(r, "text/html") || reply_type_is(r, "application/xhtml+xml");
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
		return protocol(error, "several ranges came where one was asked for");
	if (r->range != RANGE_GOOD || r->total == UINT64_MAX)
		return protocol(error, "HTTP 206 without a usable Content-Range");
	if (!check_size(req, r->total, error))
		return false;
	if (r->first != x->first || r->last != x->last)
		return protocol(error,
		                "bytes %" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT
		                " came, %" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT " were asked for",
		                r->first, r->last, x->first, x->last);
	if (r->length >= 0 && (uint64_t)r->length != r->last - r->first + 1)
		return protocol(error, "its Content-Length contradicts its Content-Range");
	return true;
}

/* The server ignored Range: the whole file comes. */
static bool check_whole(const struct exchange *x, struct source_read *req, GError **error)
{
	const struct reply *r = &x->reply;
	bool html = is_html(r);
	if (r->length < 0)
		return protocol(error,
		                html ? "HTML came where a file should be"
		                     : "the server knows neither ranges nor the file's length");
	if (html && (uint64_t)r->length != req->size)
		return protocol(error, "HTML came where a file should be");
	return check_size(req, (uint64_t)r->length, error);
}

static bool check_unsatisfied(const struct exchange *x, struct source_read *req, GError **error)
{
	const struct reply *r = &x->reply;
	if (r->range == RANGE_UNSATISFIED && r->total != UINT64_MAX &&
	    !check_size(req, r->total, error))
		return false;
	g_set_error(error, FETCH_ERROR,
	            r->range == RANGE_UNSATISFIED ? FETCH_PROTOCOL : FETCH_CHANGED,
	            "HTTP 416: the file does not reach this far any more");
	return false;
}

static bool check_version(struct http_op *op, struct source_read *req, source_version *out,
                          GError **error)
{
	source_version version = reply_version(&op->x.reply, req->size);
	if (req->pinned != 0 && version != req->pinned) {
		g_set_error(error, FETCH_ERROR, FETCH_CHANGED,
		            "changed at the source: its ETag or Last-Modified is another");
		return false;
	}
	*out = version;
	return true;
}

static bool read_head(struct http_op *op, GError **error)
{
	struct source_read *req = read_request(op);
	const struct exchange *x = &op->x;
	unsigned status = x->reply.status;
	bool good;
	if ((status == 200 || status == 206) && reply_is_coded(&x->reply))
		return protocol(error, "its bytes are coded, though identity was asked for");
	if (status == 206)
		good = check_part(x, req, error);
	else if (status == 200)
		good = check_whole(x, req, error);
	else if (status == 416)
		good = check_unsatisfied(x, req, error);
	else
		good = op_refused(op, error);
	if (!good || !check_version(op, req, &req->version, error))
		return false;
	req->offset = status == 206 ? x->first : 0;
	req->length = status == 206 ? x->last - x->first + 1 : req->size;
	int result = req->begin(req);
	if (result == 0)
		return true;
	g_set_error_literal(error, LOCAL_ERROR, -result, g_strerror(-result));
	return false;
}

static bool read_body(struct http_op *op, const char *data, size_t length, GError **error)
{
	struct read_op *r = (struct read_op *)op;
	struct source_read *req = read_request(op);
	if (length > req->length - r->received)
		return protocol(error, "more than the announced %" G_GUINT64_FORMAT " bytes came",
		                req->length);
	int result = req->data(req, req->offset + r->received, data, length);
	r->received += length;
	if (result == 0)
		return true;
	g_set_error_literal(error, LOCAL_ERROR, -result, g_strerror(-result));
	return false;
}

static void read_finish(struct http_op *op, const GError *error)
{
	struct read_op *r = (struct read_op *)op;
	struct source_read *req = read_request(op);
	g_autoptr(GError) cut = NULL;
	if (error == NULL && r->received < req->length) {
		protocol(&cut,
		         "cut short: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " bytes came",
		         r->received, req->length);
		op_name_error(op, &cut);
	}
	op_free(op);
	req->base.done(&req->base, cut != NULL ? cut : error);
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

static void stat_known(struct http_op *op, uint64_t size)
{
	struct source_stat *req = (struct source_stat *)op->request;
	req->size = size;
	req->mtime_known = reply_mtime(&op->x.reply, &req->mtime_ns);
	req->version = reply_version(&op->x.reply, size);
	op_enough(op);
}

static bool stat_head(struct http_op *op, GError **error)
{
	struct exchange *x = &op->x;
	const struct reply *r = &x->reply;
	/* Apache's HEAD of an empty file tells no length */
	if (x->head_only &&
	    (r->status == 405 || r->status == 501 || (r->status == 200 && r->length < 0))) {
		x->head_only = false;
		x->ranged = true;
		op_again(op);
		return true;
	}
	if (r->status == 206 && x->ranged && r->range == RANGE_GOOD && r->total != UINT64_MAX) {
		stat_known(op, r->total);
		return true;
	}
	/* an empty file has no first byte */
	if (r->status == 416 && x->ranged && r->range == RANGE_UNSATISFIED && r->total == 0) {
		stat_known(op, 0);
		return true;
	}
	if (r->status != 200)
		return r->status == 206 ? protocol(error, "HTTP 206 without a usable Content-Range")
		                        : op_refused(op, error);
	if (reply_is_coded(r))
		return protocol(error, "its bytes are coded, though identity was asked for");
	if (r->length < 0)
		return protocol(error, "the server does not tell the file's length");
	stat_known(op, (uint64_t)r->length);
	return true;
}

static bool stat_body(struct http_op *op, const char *data, size_t length, GError **error)
{
	g_assert_not_reached(); /* op_enough() or an error in every head */
}

static void stat_finish(struct http_op *op, const GError *error)
{
	struct source_request *request = op->request;
	op_free(op);
	request->done(request, error);
}

void http_stat(struct source *s, struct source_stat *req)
{
	static const struct http_kind kind = {stat_head, stat_body, stat_finish};
	struct http_op *op = g_new0(struct http_op, 1);
	op_init(op, (struct http *)s, &kind, &req->base, "");
	op->x.head_only = true;
	op_submit(op);
}
