/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fetch/source/http/easy_private.h"
#include <errno.h>
#include <string.h>

#define SMALL (32L * 1024) /* receive buffers */
#define LARGE (512L * 1024)

static bool set_blob(struct easy *e, CURLoption option, GBytes *bytes)
{
	gsize size;
	struct curl_blob blob = {.flags = CURL_BLOB_NOCOPY};
	blob.data = (void *)g_bytes_get_data(bytes, &size);
	blob.len = size;
	SET(e, option, &blob);
	return true;
}

static bool set_trusted(struct easy *e)
{
	struct credentials *c = e->context->credentials;
	char netrc[32];
	if (c->user != NULL) {
		SET(e, CURLOPT_USERNAME, c->user);
		SET(e, CURLOPT_PASSWORD, c->password);
	} else if (c->netrc >= 0 && c->token.name == NULL) {
		g_snprintf(netrc, sizeof(netrc), "/proc/self/fd/%d", c->netrc);
		SET(e, CURLOPT_NETRC, (long)CURL_NETRC_OPTIONAL);
		SET(e, CURLOPT_NETRC_FILE, netrc);
	}
	SET(e, CURLOPT_HTTPAUTH, c->digest ? CURLAUTH_DIGEST : CURLAUTH_BASIC);
	if (e->context->options.cookies)
		SET(e, CURLOPT_COOKIEFILE, "");
	if (c->cert == NULL)
		return true;
	SET(e, CURLOPT_KEYPASSWD, ""); /* libcurl must not ask at a terminal */
	return set_blob(e, CURLOPT_SSLCERT_BLOB, c->cert) &&
	       set_blob(e, CURLOPT_SSLKEY_BLOB, c->key);
}

static bool set_always(struct easy *e)
{
	struct easy_context *c = e->context;
	SET(e, CURLOPT_NOSIGNAL, 1L);
	SET(e, CURLOPT_PROTOCOLS_STR, "http,https");
	SET(e, CURLOPT_FOLLOWLOCATION, 0L);
	SET(e, CURLOPT_PIPEWAIT, 1L);
	SET(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(e, CURLOPT_USERAGENT, "lacunafs/" LACUNAFS_VERSION);
	SET(e, CURLOPT_CONNECTTIMEOUT_MS, (long)c->options.connect_ms);
	SET(e, CURLOPT_TCP_KEEPALIVE, 1L);
	SET(e, CURLOPT_SHARE, c->share[e->exchange->trusted]);
	return c->credentials->ca == NULL || set_blob(e, CURLOPT_CAINFO_BLOB, c->credentials->ca);
}

static bool set_request(struct easy *e)
{
	const struct exchange *x = e->exchange;
	char range[48];
	bool tls = g_str_has_prefix(x->url, "https:");
	SET(e, CURLOPT_HTTP_VERSION, (long)(tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
	if (x->head_only)
		SET(e, CURLOPT_NOBODY, 1L);
	if (x->ranged) {
		g_snprintf(range, sizeof(range), "%" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT,
		           x->first, x->last);
		SET(e, CURLOPT_RANGE, range);
	}
	/* a small exchange does not get half a megabyte */
	SET(e, CURLOPT_BUFFERSIZE, x->ranged && x->last - x->first < SMALL ? SMALL : LARGE);
	return !x->trusted || set_trusted(e);
}

static bool header_add(struct curl_slist **list, const char *name, const char *value)
{
	g_autofree char *line = g_strdup_printf("%s: %s", name, value);
	struct curl_slist *longer = curl_slist_append(*list, line);
	if (longer == NULL)
		return false;
	*list = longer;
	return true;
}

bool easy_headers_common(struct curl_slist **list, struct credentials *c, bool trusted)
{
	bool good = header_add(list, "Accept-Encoding", "identity");
	for (char **h = c->headers; good && trusted && *h != NULL; h++) {
		struct curl_slist *longer = curl_slist_append(*list, *h);
		good = longer != NULL;
		*list = good ? longer : *list;
	}
	return good;
}

static bool out_of_memory(GError **error)
{
	g_set_error(error, LOCAL_ERROR, ENOMEM, "out of memory for a request");
	return false;
}

static bool set_headers(struct easy *e, GError **error)
{
	const struct exchange *x = e->exchange;
	struct credentials *c = e->context->credentials;
	bool token = x->trusted && c->token.name != NULL;
	bool good = true;
	if (!token && x->accept == NULL && x->if_none_match == NULL &&
	    x->if_modified_since == NULL) {
		curl_easy_setopt(e->curl, CURLOPT_HTTPHEADER, e->context->headers[x->trusted]);
		return true;
	}
	if (token) {
		g_autofree char *secret = credentials_token(c, error);
		if (secret == NULL)
			return false;
		g_autofree char *bearer = g_strconcat("Bearer ", secret, NULL);
		good = header_add(&e->headers, "Authorization", bearer);
	}
	good = good && easy_headers_common(&e->headers, c, x->trusted);
	if (x->accept != NULL)
		good = good && header_add(&e->headers, "Accept", x->accept);
	if (x->if_none_match != NULL)
		good = good && header_add(&e->headers, "If-None-Match", x->if_none_match);
	if (x->if_modified_since != NULL)
		good = good && header_add(&e->headers, "If-Modified-Since", x->if_modified_since);
	if (!good)
		return out_of_memory(error);
	curl_easy_setopt(e->curl, CURLOPT_HTTPHEADER, e->headers);
	return true;
}

/* Only this function knows the secret in the URL: no message shows it. */
static bool set_url(struct easy *e, GError **error)
{
	const struct exchange *x = e->exchange;
	struct credentials *c = e->context->credentials;
	g_autofree char *whole = NULL;
	if (x->trusted && c->query.name != NULL && strchr(x->url, '?') == NULL) {
		g_autofree char *query = credentials_query(c, error);
		if (query == NULL)
			return false;
		whole = g_strconcat(x->url, "?", query, NULL);
	}
	return curl_easy_setopt(e->curl, CURLOPT_URL, whole != NULL ? whole : x->url) == CURLE_OK ||
	       out_of_memory(error);
}

bool easy_options_set(struct easy *e, GError **error)
{
	if (!set_always(e) || !set_request(e))
		return out_of_memory(error);
	bool good = set_url(e, error) && set_headers(e, error);
	e->exchange->generation = e->context->credentials->generation;
	return good;
}
