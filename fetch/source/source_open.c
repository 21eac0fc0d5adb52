/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/source_open.h"
#include "fetch/source/dir/dir.h"
#include "fetch/source/http/http.h"
#include "fetch/source/http/url.h"
#include "fetch/source/index/index_source.h"
#include "fetch/source/wrap/offline.h"
#include "fetch/source/wrap/proven.h"
#include "fetch/source/wrap/retry.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum scheme { SCHEME_DIR, SCHEME_HTTP, SCHEME_OTHER };

/* *path: for SCHEME_DIR, the text after the scheme. */
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
	g_set_error(
	        error, FETCH_ERROR, FETCH_USAGE,
	        "unknown kind of source \"%.*s:\"; expects dir:PATH, http:// and https:// (a path "
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
	o.wait_ms = o.wait_ms != 0 ? o.wait_ms : 30000;
	o.connections = o.connections != 0 ? o.connections : 16;
	o.file_mode = o.file_mode != 0 ? o.file_mode : 0755;
	o.dir_mode = o.dir_mode != 0 ? o.dir_mode : 0755;
	o.index_bytes = o.index_bytes != 0 ? o.index_bytes : UINT64_C(256) << 20;
	o.index_names = o.index_names != 0 ? o.index_names : 2000000;
	o.index_memory = o.index_memory != 0 ? o.index_memory : UINT64_C(1) << 30;
	o.retries = o.retries == 0 ? 3 : o.retries == UINT_MAX ? 0 : o.retries;
	return o;
}

/* `options`: with every default filled in. */
static struct source *plain_open(const char *url, const struct source_options *options,
                                 GError **error)
{
	struct source *inner = NULL;
	const char *path;
	switch (scheme_of(url, &path)) {
	case SCHEME_DIR:
		inner = path_refused(path, error) ? NULL : dir_source_open(path, options, error);
		break;
	case SCHEME_HTTP:
		inner = http_source_open(url, options, error);
		break;
	case SCHEME_OTHER:
		scheme_refused(url, error);
		break;
	}
	return inner != NULL ? proven_new(inner) : NULL;
}

/* What a URL says of the index of its tree. */
struct pin {
	char *url; /* owned; without the pin */
	bool given;
	struct digest root;
};

static struct pin pin_of(const char *url)
{
	struct pin p = {0};
	size_t length = index_source_pin(url, &p.root);
	p.given = length > 0;
	p.url = p.given ? g_strndup(url, length) : g_strdup(url);
	return p;
}

static struct source *wrapped(struct source *inner, const struct source_options *options,
                              const struct pin *pin)
{
	struct source *s = options->offline ? offline_new(inner)
	                                    : retry_new(inner, options->retries, options->wait_ms);
	if (options->index_folder == NULL || (options->no_index && !pin->given))
		return s;
	return index_source_new(s, options, pin->given ? &pin->root : NULL);
}

struct source *source_open(const char *url, const struct source_options *options, GError **error)
{
	struct source_options filled = options_filled(options);
	struct pin pin = pin_of(url);
	struct source *inner = plain_open(pin.url, &filled, error);
	g_free(pin.url);
	return inner != NULL ? wrapped(inner, &filled, &pin) : NULL;
}

static bool same_server(const char *first, const char *other)
{
	g_auto(url_auto) a = {0};
	g_auto(url_auto) b = {0};
	return url_parse(first, &a, NULL) && url_parse(other, &b, NULL) && url_trusts(&a, &b);
}

/* A mirror's options, of those for all. */
static struct source_options mirror_options(const char *const *urls, unsigned index,
                                            const struct source_options *options)
{
	struct source_options o = *options;
	o.mirrored = true;
	/* one mirror must not use up a reader's whole wait */
	o.wait_ms = MIN(o.wait_ms, o.stall_ms);
	if (index == 0 || o.mirror_credentials || same_server(urls[0], urls[index]))
		return o;
	o.headers = NULL;
	o.token_file = o.query_file = o.cert_file = o.key_file = NULL;
	return o;
}

struct source *source_open_mirrors(const char *const *urls, const struct source_options *options,
                                   struct mirrors **mirrors, GError **error)
{
	struct source_options filled = options_filled(options);
	struct mirrors_options mo = {filled.mirror_retry_ms, filled.mirror_takeover_ms};
	struct source *inner[MIRRORS_MAX];
	unsigned count = 0;
	*mirrors = NULL;
	if (urls[1] == NULL)
		return source_open(urls[0], options, error);
	struct pin pin = pin_of(urls[0]);
	g_autofree char *first = pin.url;
	for (; urls[count] != NULL && count < MIRRORS_MAX; count++) {
		struct source_options o = mirror_options(urls, count, &filled);
		inner[count] = plain_open(count == 0 ? first : urls[count], &o, error);
		if (inner[count] == NULL)
			break;
	}
	if (urls[count] != NULL) {
		if (count == MIRRORS_MAX)
			g_set_error(error, FETCH_ERROR, FETCH_USAGE, "more than %u mirrors",
			            MIRRORS_MAX);
		while (count > 0)
			source_close(inner[--count]);
		return NULL;
	}
	*mirrors = mirrors_new(inner, count, &mo);
	return wrapped(mirrors_source(*mirrors), &filled, &pin);
}

static char *dir_canonical(const char *path, bool away, GError **error)
{
	if (path_refused(path, error))
		return NULL;
	char *real = realpath(path, NULL);
	if (real == NULL && away) {
		g_autofree char *whole = g_canonicalize_filename(path, NULL);
		return g_strconcat("dir:", whole, NULL);
	}
	if (real == NULL) {
		g_set_error(error, LOCAL_ERROR, errno, "%s: %s", path, g_strerror(errno));
		return NULL;
	}
	char *out = g_strconcat("dir:", real, NULL);
	free(real);
	return out;
}

char *source_canonical(const char *url, bool away, GError **error)
{
	const char *path;
	struct pin pin = pin_of(url);
	g_autofree char *plain = pin.url;
	switch (scheme_of(plain, &path)) {
	case SCHEME_DIR:
		return dir_canonical(path, away, error);
	case SCHEME_HTTP:
		return http_source_canonical(plain, error);
	default:
		scheme_refused(plain, error);
		return NULL;
	}
}
