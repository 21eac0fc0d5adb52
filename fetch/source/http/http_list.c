/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/pool.h"
#include "fetch/source/http/http_op.h"
#include "fetch/source/pages/parsing.h"
#include <string.h>
#include <xxhash.h>

#define VALIDATOR_MAX 1024u
#define WAITS 10u /* a page that takes longer than one reader waits serves a later one */

/* A listing's validator: up to five lines.
 *   E<ETag>            sent back as If-None-Match
 *   M<Last-Modified>   sent back as If-Modified-Since
 *   O<hex>             hash of the options that went into the listing: if they differ
 *                      now, the other lines are void
 *   P<hex>             hash of the page and its URL: most servers' pages carry no
 *                      validator, and are often the same page
 *   L<hex>             index.c: hash of the entries left out of it, which were logged
 */
struct list_op {
	struct http_op op;       /* first */
	struct parsing *parsing; /* NULL: no page came, or it has ended */
	XXH3_state_t *hash;
	GError *error;                       /* of the transfer; names the URL */
	char *etag, *modified, *page, *left; /* of the previous listing; NULL */
	bool unchanged;
	GError *refused; /* of the root, while it is asked whether that is a file; owned */
};

static void validator_split(struct list_op *l, const char *validator)
{
	g_auto(GStrv) lines = g_strsplit(validator, "\n", 6);
	bool same = source_shape_is(&l->op.http->base, validator);
	for (char **line = lines; same && *line != NULL; line++) {
		char **kept = **line == 'E'   ? &l->etag
		              : **line == 'M' ? &l->modified
		              : **line == 'P' ? &l->page
		              : **line == 'L' ? &l->left
		                              : NULL;
		if (kept != NULL && *kept == NULL)
			*kept = g_strdup(*line + 1);
	}
}

/* Fit to be kept and to be sent back. */
static bool is_plain(const char *value)
{
	if (value == NULL || strlen(value) > VALIDATOR_MAX)
		return false;
	for (const unsigned char *c = (const unsigned char *)value; *c != '\0'; c++)
		if (*c < 0x20 || *c == 0x7f)
			return false;
	return *value != '\0';
}

static char *validator_join(const struct list_op *l, const char *page)
{
	const struct reply *r = &l->op.x.reply;
	g_autoptr(GString) out = g_string_new(NULL);
	if (is_plain(r->etag))
		g_string_append_printf(out, "E%s\n", r->etag);
	if (is_plain(r->modified))
		g_string_append_printf(out, "M%s\n", r->modified);
	g_string_append_printf(out, "O%016" G_GINT64_MODIFIER "x\nP%s",
	                       (guint64)l->op.http->base.shape, page);
	return g_string_free(g_steal_pointer(&out), FALSE);
}

static void hash_begin(struct list_op *l, const char *base)
{
	l->hash = XXH3_createState();
	XXH3_64bits_reset(l->hash);
	XXH3_64bits_update(l->hash, base, strlen(base) + 1);
}

/* Links are resolved against the page's final URL, without its query, which may hold a secret. */
static char *base_url(const struct http_op *op)
{
	g_auto(url_auto) u = {0};
	if (!url_parse(op->url, &u, NULL))
		return g_strdup(op->url);
	g_clear_pointer(&u.query, g_free);
	return url_text(&u);
}

static void list_more(void *user);
static void list_parsed(void *user, struct index_parser *parser, const GError *error);
static const struct parsing_ops list_parsing = {list_more, list_parsed};

static bool page_head(struct http_op *op, GError **error)
{
	struct list_op *l = (struct list_op *)op;
	const struct source_list *req = (const struct source_list *)op->request;
	const struct reply *r = &op->x.reply;
	if (r->status == 304 && req->previous != NULL && (l->etag != NULL || l->modified != NULL)) {
		l->unchanged = true;
		op_enough(op);
		return true;
	}
	if (r->status != 200)
		return op_refused(op, error);
	if (!reply_type_is(r, "text/html") && !reply_type_is(r, "application/xhtml+xml") &&
	    !reply_type_is(r, "application/json")) {
		g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL,
		            "not an index page: neither HTML nor JSON");
		return false;
	}
	if (reply_is_coded(r)) {
		g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL,
		            "it has a Content-Encoding, though none was accepted");
		return false;
	}
	g_autofree char *base = base_url(op);
	struct index_parser *parser = index_parser_new(r->type, base, &op->http->options);
	if (r->length < 0 && !r->framed)
		index_parser_undelimited(parser);
	hash_begin(l, base);
	l->parsing = parsing_new(op->http->parsing, parser, &list_parsing, l);
	return true;
}

/* A URL that the user gave without a slash may be a file's. */
static bool list_head(struct http_op *op, GError **error)
{
	struct list_op *l = (struct list_op *)op;
	if (l->refused != NULL) {
		if (op->x.reply.status != 200)
			g_propagate_error(error, g_steal_pointer(&l->refused));
		else
			g_set_error(error, FETCH_ERROR, FETCH_USAGE,
			            "a file; a source must be a directory: mount the parent");
		return false;
	}
	g_autoptr(GError) cause = NULL;
	if (page_head(op, &cause))
		return true;
	if (!op->http->slashless || op->request->path[0] != '\0') {
		g_propagate_error(error, g_steal_pointer(&cause));
		return false;
	}
	l->refused = g_steal_pointer(&cause);
	g_free(op->next_url);
	op->next_url = g_strndup(op->http->root_text, strlen(op->http->root_text) - 1);
	op->x.head_only = true;
	op->x.if_none_match = op->x.if_modified_since = NULL;
	op_again(op);
	return true;
}

static bool list_body(struct http_op *op, const char *data, size_t length, GError **error)
{
	struct list_op *l = (struct list_op *)op;
	XXH3_64bits_update(l->hash, data, length);
	enum parsing_fed fed = parsing_feed(l->parsing, data, length, error);
	if (fed == PARSING_FULL) /* libcurl delivers the rest of its buffer all the same */
		op->x.held = true;
	return fed != PARSING_FAILED;
}

static void list_more(void *user)
{
	struct list_op *l = user;
	transport_resume(l->op.http->transport, &l->op.x);
}

static struct listing *listing_same(struct listing *previous)
{
	listing_set_checked(previous, clock_realtime());
	return listing_ref(previous);
}

/* Takes `parser`. */
static struct listing *list_result(struct list_op *l, struct source_list *req,
                                   struct index_parser *parser, GError **error)
{
	g_autofree char *page =
	        g_strdup_printf("%016" G_GINT64_MODIFIER "x", (guint64)XXH3_64bits_digest(l->hash));
	g_autofree char *validator = validator_join(l, page);
	g_autofree char *before =
	        l->left ? g_strconcat(validator, "\nL", l->left, NULL) : g_strdup(validator);
	if (req->previous != NULL && g_strcmp0(l->page, page) == 0 &&
	    strcmp(listing_validator(req->previous), before) == 0) {
		index_parser_free(parser);
		return listing_same(req->previous);
	}
	return index_parser_finish(parser, validator, clock_realtime(), req->previous,
	                           req->base.path, error);
}

/* Frees `l`, then calls the request's done(). Takes `error`. */
static void list_done(struct list_op *l, GError *error)
{
	struct source_list *req = (struct source_list *)l->op.request;
	XXH3_freeState(l->hash);
	g_clear_error(&l->refused);
	g_free(l->etag);
	g_free(l->modified);
	g_free(l->page);
	g_free(l->left);
	g_clear_error(&l->error);
	op_free(&l->op);
	req->base.done(&req->base, error);
	g_clear_error(&error);
}

static void list_parsed(void *user, struct index_parser *parser, const GError *error)
{
	struct list_op *l = user;
	struct source_list *req = (struct source_list *)l->op.request;
	GError *wrong = NULL;
	if (error == NULL) {
		req->listing = list_result(l, req, parser, &wrong);
	} else {
		index_parser_free(parser);
		wrong = g_error_copy(l->error != NULL ? l->error : error);
	}
	if (wrong != NULL && l->error == NULL)
		op_name_error(&l->op, &wrong);
	list_done(l, wrong);
}

static void list_finish(struct http_op *op, const GError *error)
{
	struct list_op *l = (struct list_op *)op;
	struct source_list *req = (struct source_list *)op->request;
	if (l->parsing != NULL) {
		l->error = error != NULL ? g_error_copy(error) : NULL;
		parsing_end(l->parsing, error);
		return;
	}
	g_assert(error != NULL || l->unchanged);
	if (error == NULL)
		req->listing = listing_same(req->previous);
	list_done(l, error != NULL ? g_error_copy(error) : NULL);
}

void http_list(struct source *s, struct source_list *req)
{
	static const struct http_kind kind = {list_head, list_body, list_finish};
	struct list_op *l = g_new0(struct list_op, 1);
	op_init(&l->op, (struct http *)s, &kind, &req->base, "/");
	if (req->previous != NULL)
		validator_split(l, listing_validator(req->previous));
	/* concurrent requests wait for this one: it must not go on for ever */
	const struct source_options *o = &l->op.http->options;
	l->op.x.whole_ms = MIN(MAX(o->wait_ms, o->stall_ms), UINT_MAX / WAITS) * WAITS;
	l->op.x.accept = "application/json, text/html;q=0.9"; /* Caddy has both */
	l->op.x.if_none_match = l->etag;
	l->op.x.if_modified_since = l->modified;
	req->listing = NULL;
	op_submit(&l->op);
}
