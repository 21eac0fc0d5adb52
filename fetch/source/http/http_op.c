/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/http/http_op.h"
#include "fetch/base/pool.h"
#include <string.h>
#include <xxhash.h>

#define HOPS_MAX 8u
#define DRAIN_MAX 65536u /* less than a new connection costs */
#define CROWDED_MAX 8u   /* times that a request refused as one too many is sent again */
#define SECOND_NS INT64_C(1000000000)
#define MS_NS INT64_C(1000000)

static bool op_start(struct exchange *x, GError **error);
static bool op_head(struct exchange *x, GError **error);
static bool op_body(struct exchange *x, const char *data, size_t length, GError **error);
static void op_done(struct exchange *x, const GError *error);

void op_init(struct http_op *op, struct http *http, const struct http_kind *kind,
             struct source_request *request, const char *suffix)
{
	g_autoptr(GString) url =
	        g_string_sized_new(strlen(http->root_text) + strlen(request->path) + 32);
	g_string_append(url, http->root_text);
	url_append_path(url, request->path);
	if (request->path[0] != '\0')
		g_string_append(url, suffix);
	op->http = http;
	op->kind = kind;
	op->request = request;
	op->file = suffix[0] == '\0';
	op->first_url = g_string_free(g_steal_pointer(&url), FALSE);
	op->url = g_strdup(op->first_url);
	op->x.trusted = true;
	op->x.start = op_start;
	op->x.head = op_head;
	op->x.body = op_body;
	op->x.done = op_done;
}

void op_submit(struct http_op *op)
{
	op->x.url = op->url;
	transport_submit(op->http->transport, &op->x);
}

void op_free(struct http_op *op)
{
	reply_clear(&op->x.reply);
	g_free(op->first_url);
	g_free(op->url);
	g_free(op->next_url);
	g_clear_error(&op->verdict);
	g_free(op);
}

void op_again(struct http_op *op)
{
	op->again = op->draining = true;
}

void op_restart(struct http_op *op)
{
	g_free(op->next_url);
	op->next_url = g_strdup(op->first_url);
	op->x.trusted = true;
	op->slash = false;
	op->hops = 0;
	op_again(op);
}

void op_enough(struct http_op *op)
{
	op->draining = true;
}

void op_name_error(const struct http_op *op, GError **error)
{
	g_auto(url_auto) u = {0};
	g_autofree char *shown = url_parse(op->url, &u, NULL) ? url_display(&u) : NULL;
	g_prefix_error(error, "%s: ", shown != NULL ? shown : "a URL that cannot be shown");
}

bool op_protocol(GError **error, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	g_autofree char *text = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	g_set_error_literal(error, FETCH_ERROR, FETCH_PROTOCOL, text);
	return false;
}

bool op_directory(GError **error)
{
	g_set_error(error, FETCH_ERROR, FETCH_DIRECTORY, "a directory at the source");
	return false;
}

static const char *status_words(unsigned status)
{
	static const struct {
		unsigned status;
		const char *words;
	} known[] = {
	        {400, " Bad Request"},
	        {401, " Unauthorized"},
	        {403, " Forbidden"},
	        {404, " Not Found"},
	        {405, " Method Not Allowed"},
	        {407, " Proxy Authentication Required"},
	        {408, " Request Timeout"},
	        {410, " Gone"},
	        {416, " Range Not Satisfiable"},
	        {421, " Misdirected Request"},
	        {429, " Too Many Requests"},
	        {500, " Internal Server Error"},
	        {501, " Not Implemented"},
	        {502, " Bad Gateway"},
	        {503, " Service Unavailable"},
	        {504, " Gateway Timeout"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
		if (known[i].status == status)
			return known[i].words;
	return "";
}

static enum fetch_error status_code(unsigned status)
{
	switch (status) {
	case 401:
	case 403:
	case 407:
		return FETCH_DENIED;
	case 404:
	case 410:
		return FETCH_MISSING;
	case 408:
	case 421:
	case 425:
	case 429:
		return FETCH_SERVER;
	default:
		return status >= 500 ? FETCH_SERVER : FETCH_PROTOCOL;
	}
}

bool op_refused(struct http_op *op, GError **error)
{
	unsigned status = op->x.reply.status;
	unsigned later = reply_retry_after(&op->x.reply, clock_realtime() / SECOND_NS);
	g_autofree char *when =
	        later > 0 ? g_strdup_printf("; to be asked again in %u s", later) : NULL;
	g_set_error(error, FETCH_ERROR, (gint)status_code(status), "HTTP %u%s%s", status,
	            status_words(status), when != NULL ? when : "");
	return false;
}

source_version op_version(const struct http_op *op, uint64_t size)
{
	const struct reply *r = &op->x.reply;
	source_version version = reply_version(r, size, !op->http->options.no_etag);
	/* an ETag alone is unique at its own server only, and a store may have had others */
	if (r->modified == NULL)
		version ^= XXH3_64bits(op->http->root_text, strlen(op->http->root_text));
	return version != 0 ? version : 1;
}

bool op_as_listed(const struct http_op *op, int64_t listed_ns)
{
	int64_t modified_ns;
	return reply_mtime(&op->x.reply, &modified_ns) && source_time_is(modified_ns, listed_ns);
}

bool op_meets(const struct http_op *op, enum source_demand demand, int64_t listed_ns,
              GError **error)
{
	int64_t modified_ns = INT64_MIN;
	bool dated = reply_mtime(&op->x.reply, &modified_ns);
	if (source_time_fits(demand, modified_ns, listed_ns))
		return true;
	const char *words = demand == DEMAND_LISTED ? "not" : "before";
	if (dated)
		g_set_error(error, FETCH_ERROR, FETCH_CHANGED,
		            "another version: its Last-Modified is %s the listed time", words);
	else
		g_set_error(error, FETCH_ERROR, FETCH_CHANGED,
		            "perhaps another version: it has no Last-Modified");
	return false;
}

static bool is_redirect(unsigned status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool op_redirect(struct http_op *op, GError **error)
{
	g_auto(url_auto) here = {0};
	g_auto(url_auto) there = {0};
	g_autoptr(GError) cause = NULL;
	const struct reply *r = &op->x.reply;
	if (r->location == NULL) {
		g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL, "HTTP %u without a Location",
		            r->status);
		return false;
	}
	if (!url_parse(op->url, &here, &cause) ||
	    !url_resolve(&here, r->location, &there, &cause)) {
		g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL, "redirected: %s", cause->message);
		return false;
	}
	size_t length = strlen(here.path);
	/* a page elsewhere (login, front page) does not show that the file is a directory */
	if (op->slash && strcmp(here.path, there.path) != 0)
		return op_protocol(error, "redirected to itself with a slash, and then elsewhere");
	if (op->file && strncmp(here.path, there.path, length) == 0 &&
	    strcmp(there.path + length, "/") == 0) {
		op->slash = true;
		op->x.head_only = op->x.ranged = false;
	}
	/* a server that redirects to its front page: the names there are not this directory's */
	if (!op->file && strlen(there.path) < length &&
	    strncmp(here.path, there.path, strlen(there.path)) == 0) {
		g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL,
		            "redirected to a directory above it");
		return false;
	}
	bool cookie = r->sets_cookie && op->x.trusted && !op->http->options.no_cookies;
	if ((url_equal(&here, &there) && !cookie) || op->hops >= HOPS_MAX) {
		g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL,
		            "redirected in a loop, or more than %u times", HOPS_MAX);
		return false;
	}
	/* once outside, a request stays untrusted: a redirect back proves nothing */
	op->x.trusted = op->x.trusted && url_trusts(&op->http->root, &there);
	op->next_url = url_text(&there);
	op->hops++;
	op_again(op);
	return true;
}

/* Sends no request before the server's Retry-After has passed. */
static bool op_start(struct exchange *x, GError **error)
{
	struct http_op *op = (struct http_op *)x;
	int64_t now = clock_now(), until = quiet_until(&op->http->quiet, op->request->path);
	int64_t patience = (int64_t)MAX(op->http->options.wait_ms, op->http->options.stall_ms);
	if (op->begun_ns == 0)
		op->begun_ns = now;
	if (until > now) {
		op->request->retry_ns = until;
		g_set_error(error, FETCH_ERROR, FETCH_SERVER,
		            "the server accepts no request for another %" G_GINT64_FORMAT " s",
		            (until - now + SECOND_NS - 1) / SECOND_NS);
		return false;
	}
	if (op->hops > 0 && now - op->begun_ns > patience * MS_NS) {
		g_set_error(error, FETCH_ERROR, FETCH_TIMEOUT, "redirected for too long");
		return false;
	}
	return true;
}

/* Judges the answer at a file's URL with a slash. Always false. */
static bool op_slash(struct http_op *op, GError **error)
{
	const struct reply *r = &op->x.reply;
	if (r->status != 200)
		return op_refused(op, error);
	if (!reply_is_html(r) && !reply_type_is(r, "application/json"))
		return op_protocol(error,
		                   "redirected to a URL that is neither a file nor a directory");
	return op_directory(error);
}

/* Denied, but the credentials are others now? Then the request is sent once more. */
static bool op_renewed(struct http_op *op)
{
	const struct exchange *x = &op->x;
	bool denied = x->reply.status == 401 || x->reply.status == 403;
	if (!denied || !x->trusted || op->renewed ||
	    !credentials_renewed(op->http->credentials, x->generation))
		return false;
	op->renewed = true;
	op_again(op);
	return true;
}

static bool op_head(struct exchange *x, GError **error)
{
	struct http_op *op = (struct http_op *)x;
	bool good;
	if (op_renewed(op))
		return true;
	if (is_redirect(x->reply.status))
		good = op_redirect(op, &op->verdict);
	else if (op->slash)
		good = op_slash(op, &op->verdict);
	else
		good = op->kind->head(op, &op->verdict);
	if (good)
		return true;
	op->draining = true;
	if (x->reply.length <= (int64_t)DRAIN_MAX || x->head_only)
		return true;
	g_propagate_error(error, g_error_copy(op->verdict));
	return false;
}

static bool op_body(struct exchange *x, const char *data, size_t length, GError **error)
{
	struct http_op *op = (struct http_op *)x;
	if (!op->draining)
		return op->kind->body(op, data, length, error);
	op->drained += length;
	if (op->drained <= DRAIN_MAX)
		return true;
	g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL, "an unexpected body");
	return false;
}

static void op_next(struct http_op *op)
{
	if (op->next_url != NULL) {
		g_free(op->url);
		op->url = g_steal_pointer(&op->next_url);
	}
	g_clear_error(&op->verdict);
	op->again = op->draining = false;
	op->drained = 0;
	op_submit(op);
}

/* The caller's retry waits as long as the server asks for, if it waits at all. */
static void op_note_retry(struct http_op *op, const GError *error)
{
	const struct reply *r = &op->x.reply;
	unsigned seconds = reply_retry_after(r, clock_realtime() / SECOND_NS);
	if (seconds == 0 || !g_error_matches(error, FETCH_ERROR, FETCH_SERVER))
		return;
	op->request->retry_ns = clock_now() + seconds * SECOND_NS;
	/* the host of a redirect limits requests to itself alone */
	bool all = r->status == 429 && op->x.trusted;
	quiet_note(&op->http->quiet, op->request->path, all, op->request->retry_ns);
}

/* Refused as one of too many requests: it is sent again, among fewer, and has not failed yet. */
static bool op_crowded(struct http_op *op)
{
	return op->x.crowded && op->x.reply.retry_after == NULL && op->crowded++ < CROWDED_MAX;
}

static void op_done(struct exchange *x, const GError *error)
{
	struct http_op *op = (struct http_op *)x;
	bool cancelled = g_error_matches(error, FETCH_ERROR, FETCH_CANCELLED);
	if ((op->again || op_crowded(op)) && !cancelled) {
		op_next(op);
		return;
	}
	if (op->draining && !cancelled)
		error = op->verdict; /* NULL where the head was enough */
	if (error == NULL) {
		op->kind->finish(op, NULL);
		return;
	}
	GError *named = g_error_copy(error);
	op_name_error(op, &named);
	op_note_retry(op, named);
	op->kind->finish(op, named);
	g_error_free(named);
}
