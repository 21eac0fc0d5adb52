/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/address.h"
#include <arpa/inet.h>
#include <string.h>
#include "fetch/base/error.h"

static bool port_parse(const char *text, in_port_t *out)
{
	guint64 port;
	if (!g_ascii_string_to_unsigned(text, 10, 1, 65535, &port, NULL))
		return false;
	*out = htons((uint16_t)port);
	return true;
}

static bool path_parse(const char *path, struct address *a)
{
	if (path[0] != '/' || strlen(path) >= sizeof a->path.sun_path)
		return false;
	a->path.sun_family = AF_UNIX;
	g_strlcpy(a->path.sun_path, path, sizeof a->path.sun_path);
	a->length = sizeof a->path;
	return true;
}

/* All of 127.0.0.0/8 is the loopback. */
static bool number_parse(const char *text, struct address *a)
{
	const char *colon = strrchr(text, ':');
	g_autofree char *host = colon ? g_strndup(text, (gsize)(colon - text)) : NULL;
	if (host && strcmp(host, "[::1]") == 0) {
		a->v6.sin6_family = AF_INET6;
		a->v6.sin6_addr = in6addr_loopback;
		a->length = sizeof a->v6;
		return port_parse(colon + 1, &a->v6.sin6_port);
	}
	a->v4.sin_family = AF_INET;
	a->length = sizeof a->v4;
	return host && inet_pton(AF_INET, host, &a->v4.sin_addr) == 1 &&
	       ntohl(a->v4.sin_addr.s_addr) >> 24 == 127 && port_parse(colon + 1, &a->v4.sin_port);
}

bool address_parse(const char *text, struct address *out, GError **error)
{
	struct address a = {0};
	bool ok = g_str_has_prefix(text, "unix:") ? path_parse(text + strlen("unix:"), &a)
	                                          : number_parse(text, &a);
	if (ok)
		*out = a;
	else
		g_set_error_literal(error, FETCH_ERROR, FETCH_USAGE,
		                    "expects unix:PATH (absolute, of at most 107 bytes), "
		                    "127.0.0.1:PORT or [::1]:PORT");
	return ok;
}

unsigned address_port(const struct address *a)
{
	if (a->any.sa_family == AF_UNIX)
		return 0;
	return ntohs(a->any.sa_family == AF_INET6 ? a->v6.sin6_port : a->v4.sin_port);
}
