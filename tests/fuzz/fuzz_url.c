/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A URL from the command line, and a Location from a server. What is accepted is written
 * out so that another parser sees the same host and port in it, and is its own normal form. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "fetch/source/http/url.h"

static void check(bool true_or_abort)
{
	if (!true_or_abort)
		abort();
}

static void check_url(const struct url *u)
{
	g_auto(url_auto) again = {0};
	g_autofree char *text = url_text(u);
	g_autofree char *shown = url_display(u);
	g_autoptr(GUri) other = g_uri_parse(text, G_URI_FLAGS_ENCODED, NULL);
	for (const char *c = text; *c != '\0'; c++)
		check(*c > 0x20 && *c < 0x7f);
	check(u->path[0] == '/' && strstr(u->path, "/../") == NULL &&
	      strstr(u->path, "/./") == NULL);
	check(u->query == NULL || g_str_has_suffix(shown, "?..."));
	check(other != NULL && g_uri_get_userinfo(other) == NULL);
	size_t host = strlen(g_uri_get_host(other));
	check(strncmp(u->host + (u->host[0] == '['), g_uri_get_host(other), host) == 0);
	check(g_uri_get_port(other) == (int)u->port ||
	      (g_uri_get_port(other) == -1 && u->port == (u->tls ? 443u : 80u)));
	/* a long one may pass the limit by being encoded */
	if (strlen(text) <= 8192)
		check(url_parse(text, &again, NULL) && url_equal(u, &again) &&
		      url_trusts(u, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_auto(url_auto) base = {0};
	g_auto(url_auto) u = {0};
	g_auto(url_auto) v = {0};
	g_autoptr(GError) error = NULL;
	if (url_parse(text, &u, &error))
		check_url(&u);
	else
		check(error != NULL && u.host == NULL && strchr(error->message, '\n') == NULL);
	check(url_parse("https://host.example:8443/a/b/c?q=1", &base, NULL));
	if (url_resolve(&base, text, &v, NULL)) {
		check_url(&v);
		check(v.user == NULL && v.password == NULL);
	}
	return 0;
}
