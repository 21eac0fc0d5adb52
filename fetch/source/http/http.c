/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/http/http.h"
#include "fetch/source/http/http_op.h"
#include "fetch/source/pages/parsing.h"
#include <string.h>
#include <xxhash.h>

static void http_close(struct source *s)
{
	struct http *h = (struct http *)s;
	if (h->transport != NULL)
		transport_free(h->transport);
	parsing_pool_free(h->parsing); /* every page has had its parsing_end() by then */
	credentials_free(h->credentials);
	url_clear(&h->root);
	g_free(h->root_text);
	g_free(h->options.index_timezone);
	g_free(h);
}

static void http_stop(struct source *s)
{
	transport_stop(((struct http *)s)->transport);
}

static char *http_describe(struct source *s, const char *path)
{
	struct http *h = (struct http *)s;
	GString *out = g_string_new(h->root_text);
	url_append_path(out, path);
	return g_string_free(out, FALSE);
}

static const struct source_ops http_ops = {
        .name = "http",
        .list = http_list,
        .stat = http_stat,
        .read = http_read,
        .stop = http_stop,
        .close = http_close,
        .describe = http_describe,
};

/* A tree's root: a directory, so its path ends in '/'. */
static bool root_parse(const char *url, struct url *out, bool *slashless, GError **error)
{
	g_auto(url_auto) u = {0};
	if (!url_parse(url, &u, error))
		return false;
	if (u.query != NULL || strchr(url, '#') != NULL) {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE,
		            "a source's URL cannot have a query or a fragment (for a token that "
		            "goes with every request: --query-file)");
		return false;
	}
	*slashless = !g_str_has_suffix(u.path, "/");
	if (*slashless) {
		char *path = g_strconcat(u.path, "/", NULL);
		g_free(u.path);
		u.path = path;
	}
	*out = u;
	u = (struct url){0};
	return true;
}

char *http_source_canonical(const char *url, GError **error)
{
	g_auto(url_auto) u = {0};
	bool slashless;
	return root_parse(url, &u, &slashless, error) ? url_text(&u) : NULL;
}

static uint64_t shape_of(const char *root, const struct source_options *o)
{
	uint32_t made_with[4] = {o->file_mode, o->dir_mode, o->uid, o->gid};
	uint64_t zone = o->index_timezone == NULL
	                        ? 0
	                        : XXH3_64bits(o->index_timezone, strlen(o->index_timezone));
	uint64_t seed = XXH3_64bits_withSeed(root, strlen(root), zone);
	return XXH3_64bits_withSeed(made_with, sizeof(made_with), seed);
}

struct source *http_source_open(const char *url, const struct source_options *options,
                                GError **error)
{
	struct transport_options limits = {
	        .connect_ms = options->connect_ms,
	        .stall_ms = options->stall_ms,
	        .wait_ms = options->wait_ms,
	        .cookies = !options->no_cookies,
	        .connections = options->connections,
	};
	g_auto(url_auto) root = {0};
	bool slashless;
	if (!root_parse(url, &root, &slashless, error))
		return NULL;
	struct http *h = g_new0(struct http, 1);
	h->base.ops = &http_ops;
	h->base.cyclic = true;
	h->base.dir_mode = options->dir_mode;
	h->base.file_mode = options->file_mode;
	h->options = *options;
	h->options.headers = NULL;
	h->options.index_timezone = g_strdup(options->index_timezone);
	h->options.token_file = h->options.query_file = h->options.ca_file = NULL;
	h->options.cert_file = h->options.key_file = NULL;
	h->slashless = slashless;
	h->root_text = url_text(&root);
	h->base.shape = shape_of(h->root_text, options);
	h->credentials = credentials_new(g_steal_pointer(&root.user),
	                                 g_steal_pointer(&root.password), options, error);
	h->root = root;
	root = (struct url){0};
	if (h->credentials != NULL)
		h->transport = transport_new(h->credentials, &limits, error);
	if (h->transport != NULL) {
		h->parsing = parsing_pool_new(options->index_memory);
		return &h->base;
	}
	http_close(&h->base);
	return NULL;
}
