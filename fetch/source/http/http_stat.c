/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A file's size, from up to three witnesses: the listing (rounded, or none), HEAD, and a GET of the
 * first byte. GET is sent if HEAD is refused, has no length, has length 0 (an empty file would
 * never be read again), shows an HTML page under another kind of name, or contradicts the listing.
 * Reads use GET, so it decides, unless both others contradict it. */
#include "fetch/source/http/http_op.h"
#include <string.h>

#define UNTOLD UINT64_MAX
#define ROUNDED 1024u /* a listing may be off by as much however small the file is */

struct stat_op {
	struct http_op op;  /* first */
	uint64_t head_size; /* UNTOLD: HEAD reported none */
};

static uint64_t listed_size(const struct http_op *op)
{
	return ((const struct source_stat *)op->request)->listed;
}

/* Do the sizes differ by more than rounding? */
static bool contradicts(uint64_t size, uint64_t listed)
{
	if (listed == 0 || (size <= listed + ROUNDED && listed <= size + ROUNDED))
		return false;
	return size / 2 > listed || listed / 2 > size;
}

static bool stat_known(struct http_op *op, uint64_t size, GError **error)
{
	struct source_stat *req = (struct source_stat *)op->request;
	if (!op_meets(op, req->demand, req->listed_ns, error))
		return false;
	req->size = size;
	req->mtime_known = reply_mtime(&op->x.reply, &req->mtime_ns);
	req->version = op_version(op, size);
	op_enough(op);
	return true;
}

static void ask_by_get(struct http_op *op)
{
	op->x.head_only = false;
	op->x.ranged = true;
	op->x.first = op->x.last = 0;
	op_restart(op);
}

/* URLs signed for GET alone, methods that are forbidden or broken; not answers that ask for a later
 * retry. */
static bool head_is_refused(unsigned status)
{
	if (status == 408 || status == 421 || status == 425 || status == 429)
		return false;
	return (status >= 400 && status < 500) || status == 500 || status == 501;
}

static bool name_ends(const char *path, const char *const *suffixes)
{
	const char *dot = strrchr(path, '.');
	for (; dot != NULL && *suffixes != NULL; suffixes++)
		if (g_ascii_strcasecmp(dot, *suffixes) == 0)
			return true;
	return false;
}

/* A login page, or a page that says "not found" with status 200. */
static bool is_odd_page(const struct http_op *op)
{
	static const char *const pages[] = {".html", ".htm",  ".xhtml", ".xht", ".shtml",
	                                    ".php",  ".aspx", ".asp",   ".jsp", NULL};
	return reply_is_html(&op->x.reply) && !name_ends(op->request->path, pages);
}

static bool stat_by_head(struct stat_op *s, GError **error)
{
	struct http_op *op = &s->op;
	const struct reply *r = &op->x.reply;
	if (r->status != 200 && !head_is_refused(r->status))
		return op_refused(op, error);
	if (r->status == 200 && r->length >= 0 && !reply_is_coded(r))
		s->head_size = (uint64_t)r->length;
	if (s->head_size != UNTOLD && s->head_size != 0 &&
	    !contradicts(s->head_size, listed_size(op)) && !is_odd_page(op))
		return stat_known(op, s->head_size, error);
	ask_by_get(op);
	return true;
}

/* Apache and others send a Content-Encoding for files that are stored coded. */
static bool name_is_coded(const char *path)
{
	static const char *const suffixes[] = {".gz",  ".tgz", ".svgz", ".z",  ".taz",
	                                       ".bz2", ".tbz", ".tbz2", ".xz", ".txz",
	                                       ".zst", ".br",  NULL};
	return name_ends(path, suffixes);
}

/* Are the coded bytes the file as stored at the server, not made for this answer? */
static bool coded_is_file(const struct http_op *op, uint64_t size)
{
	uint64_t listed = listed_size(op);
	bool near = listed != 0 && !contradicts(size, listed);
	bool named = name_is_coded(op->request->path);
	return op->x.reply.status == 206 ? near || named : near && named;
}

static bool size_by_get(const struct http_op *op, uint64_t *size, GError **error)
{
	const struct reply *r = &op->x.reply;
	if (r->status == 206) {
		if (r->range != RANGE_GOOD || r->first != 0 || r->total == UINT64_MAX)
			return op_protocol(error, "HTTP 206 without a usable Content-Range");
		*size = r->total;
		return true;
	}
	if (r->status == 416) { /* an empty file has no first byte */
		if (r->range != RANGE_UNSATISFIED || r->total != 0)
			return op_protocol(error, "HTTP 416 for a request of the first byte");
		*size = 0;
		return true;
	}
	if (r->length < 0)
		return op_protocol(error, "the server does not tell the file's length");
	*size = (uint64_t)r->length;
	return true;
}

static bool stat_by_get(struct stat_op *s, GError **error)
{
	struct http_op *op = &s->op;
	const struct reply *r = &op->x.reply;
	uint64_t size = 0, listed = listed_size(op);
	if (r->status != 200 && r->status != 206 && r->status != 416)
		return op_refused(op, error);
	if (!size_by_get(op, &size, error))
		return false;
	if (reply_is_coded(r) && !coded_is_file(op, size))
		return op_protocol(error, "its bytes are coded, though identity was asked for");
	if (s->head_size != UNTOLD && size != s->head_size && contradicts(size, listed))
		return op_protocol(error,
		                   "its size is %" G_GUINT64_FORMAT " by HEAD, %" G_GUINT64_FORMAT
		                   " by GET, about %" G_GUINT64_FORMAT " in the listing",
		                   s->head_size, size, listed);
	return stat_known(op, size, error);
}

static bool stat_head(struct http_op *op, GError **error)
{
	struct stat_op *s = (struct stat_op *)op;
	/* the source's root: an index that is made for each answer has no length */
	if (op->request->path[0] == '\0' && op->x.reply.status == 200)
		return op_directory(error);
	return op->x.head_only ? stat_by_head(s, error) : stat_by_get(s, error);
}

static bool stat_body(struct http_op *op, const char *data, size_t length, GError **error)
{
	g_assert_not_reached(); /* op_enough(), op_restart() or an error in every head */
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
	struct stat_op *st = g_new0(struct stat_op, 1);
	op_init(&st->op, (struct http *)s, &kind, &req->base, "");
	st->op.x.head_only = true;
	st->head_size = UNTOLD;
	op_submit(&st->op);
}
