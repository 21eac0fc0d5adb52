/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/source.h"
#include "fetch/pool.h"
#include "fetch/source/dir.h"
#include "fetch/source/http.h"
#include "fetch/source/retry.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* ---- which source ---- */

enum scheme { SCHEME_DIR, SCHEME_HTTP, SCHEME_OTHER };

/* *path: for SCHEME_DIR, what follows the scheme. */
static enum scheme scheme_of(const char *url, const char **path)
{
	size_t length = 0;
	while (g_ascii_isalnum(url[length]) ||
	       (length > 0 && strchr("+-.", url[length]) != NULL && url[length] != '\0'))
		length++;
	*path = url;
	if (length == 0 || url[length] != ':' || !g_ascii_isalpha(url[0]))
		return SCHEME_DIR;
	if (length == 3 && g_ascii_strncasecmp(url, "dir", 3) == 0) {
		*path = url + 4;
		return SCHEME_DIR;
	}
	if (g_ascii_strncasecmp(url, "http://", 7) == 0 ||
	    g_ascii_strncasecmp(url, "https://", 8) == 0)
		return SCHEME_HTTP;
	return SCHEME_OTHER;
}

static bool scheme_refused(const char *url, GError **error)
{
	g_set_error(error, FETCH_ERROR, FETCH_USAGE,
	            "no source speaks \"%.*s:\"; there are dir:PATH, http:// and https:// (a path "
	            "with a "
	            "colon in its first part is written ./PATH)",
	            (int)MIN(strcspn(url, ":"), 32), url);
	return false;
}

static bool path_refused(const char *path, GError **error)
{
	if (*path != '\0')
		return false;
	g_set_error(error, FETCH_ERROR, FETCH_USAGE, "a source is needed: a path or a URL");
	return true;
}

static struct source_options options_filled(const struct source_options *options)
{
	struct source_options o = options != NULL ? *options : (struct source_options){0};
	o.connect_ms = o.connect_ms != 0 ? o.connect_ms : 5000;
	o.stall_ms = o.stall_ms != 0 ? o.stall_ms : 10000;
	o.connections = o.connections != 0 ? o.connections : 16;
	o.file_mode = o.file_mode != 0 ? o.file_mode : 0755;
	o.dir_mode = o.dir_mode != 0 ? o.dir_mode : 0755;
	o.retries = o.retries == 0 ? 3 : o.retries == UINT_MAX ? 0 : o.retries;
	return o;
}

struct source *source_open(const char *url, const struct source_options *options, GError **error)
{
	struct source_options filled = options_filled(options);
	struct source *inner = NULL;
	const char *path;
	switch (scheme_of(url, &path)) {
	case SCHEME_DIR:
		inner = path_refused(path, error) ? NULL : dir_source_open(path, &filled, error);
		break;
	case SCHEME_HTTP:
		inner = http_source_open(url, &filled, error);
		break;
	case SCHEME_OTHER:
		scheme_refused(url, error);
		break;
	}
	return inner != NULL ? retry_new(inner, filled.retries) : NULL;
}

static char *dir_canonical(const char *path, GError **error)
{
	if (path_refused(path, error))
		return NULL;
	char *real = realpath(path, NULL);
	if (real == NULL) {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE, "%s: %s", path, g_strerror(errno));
		return NULL;
	}
	char *out = g_strconcat("dir:", real, NULL);
	free(real);
	return out;
}

char *source_canonical(const char *url, GError **error)
{
	const char *path;
	switch (scheme_of(url, &path)) {
	case SCHEME_DIR:
		return dir_canonical(path, error);
	case SCHEME_HTTP:
		return http_source_canonical(url, error);
	default:
		scheme_refused(url, error);
		return NULL;
	}
}

/* ---- the contract, held on both sides of every call ---- */

static bool path_is_legal(const char *path)
{
	for (;;) {
		size_t length = strcspn(path, "/");
		if (length == 0)
			return *path == '\0';
		if (length <= 2 && strspn(path, ".") >= length)
			return false;
		if (path[length] == '\0')
			return true;
		path += length + 1;
		if (*path == '\0')
			return false;
	}
}

/* What this thread is submitting just now: none of its callbacks may come yet. */
static _Thread_local const struct source_request *submitting;

static const struct source_request *
guard_enter(struct source_request *req, void (*done)(struct source_request *, const GError *))
{
	const struct source_request *outer = submitting;
	g_assert(req->done != NULL && path_is_legal(req->path));
	req->started_ns = clock_now();
	req->attempt = 0;
	req->retry_ns = 0;
	req->guard_done = req->done;
	req->done = done;
	submitting = req;
	return outer;
}

static void guard_done(struct source_request *req, const GError *error)
{
	g_assert(submitting != req);
	g_assert(error == NULL || error->domain == FETCH_ERROR || error->domain == LOCAL_ERROR);
	req->done = req->guard_done;
	req->done(req, error);
}

static void list_done(struct source_request *base, const GError *error)
{
	struct source_list *req = (struct source_list *)base;
	g_assert((error == NULL) == (req->listing != NULL));
	guard_done(base, error);
}

void source_list(struct source *s, struct source_list *req)
{
	req->listing = NULL;
	const struct source_request *outer = guard_enter(&req->base, list_done);
	s->ops->list(s, req);
	submitting = outer;
}

void source_stat(struct source *s, struct source_stat *req)
{
	const struct source_request *outer = guard_enter(&req->base, guard_done);
	s->ops->stat(s, req);
	submitting = outer;
}

static int read_begin(struct source_read *req)
{
	g_assert(submitting != &req->base && !req->guard.begun);
	g_assert(req->offset <= req->guard.offset && req->length <= req->size - req->offset);
	g_assert(req->offset + req->length >= req->guard.end);
	g_assert(req->pinned == 0 || req->version == req->pinned);
	req->guard.begun = true;
	req->guard.next = req->offset;
	int result = req->guard.begin(req);
	g_assert(result <= 0);
	req->guard.refused = result != 0;
	return result;
}

static int read_data(struct source_read *req, uint64_t offset, const void *buffer, size_t length)
{
	g_assert(req->guard.begun && !req->guard.refused);
	g_assert(offset == req->guard.next && length > 0);
	g_assert(length <= req->offset + req->length - offset);
	req->guard.next = offset + length;
	int result = req->guard.data(req, offset, buffer, length);
	g_assert(result <= 0);
	req->guard.refused = result != 0;
	return result;
}

static void read_done(struct source_request *base, const GError *error)
{
	struct source_read *req = (struct source_read *)base;
	bool whole = req->guard.begun && !req->guard.refused &&
	             req->guard.next == req->offset + req->length;
	g_assert(error != NULL || whole);
	req->begin = req->guard.begin;
	req->data = req->guard.data;
	guard_done(base, error);
}

void source_read(struct source *s, struct source_read *req)
{
	g_assert(req->begin != NULL && req->data != NULL);
	g_assert(req->length > 0 && req->offset < req->size);
	req->guard.begin = req->begin;
	req->guard.data = req->data;
	req->guard.offset = req->offset;
	req->guard.end = req->offset + MIN(req->length, req->size - req->offset);
	req->guard.begun = req->guard.refused = false;
	req->begin = read_begin;
	req->data = read_data;
	const struct source_request *outer = guard_enter(&req->base, read_done);
	s->ops->read(s, req);
	submitting = outer;
}

void source_close(struct source *s)
{
	s->ops->close(s);
}

char *source_describe(struct source *s, const char *path)
{
	g_assert(path_is_legal(path));
	char *out = s->ops->describe(s, path);
	g_assert(out != NULL);
	return out;
}
