/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* An http or https URL, taken apart and normalised.
 * Shape:   host in lower case and ASCII, IPv6 in brackets; path absolute, its
 *          percent-encoding normalised, no dot segments; fragments are dropped
 * Owns:    its strings
 * Trust:   URLs come from outside too (redirects): an accepted URL is
 *          written out again from its parts, so that no other parser can read
 *          another host in it
 * Errors:  FETCH_USAGE; messages show no user, password or query
 * Source:  RFC 3986
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct url {
	char *host;
	char *path;
	char *query; /* unchanged; NULL = none */
	char *user;  /* decoded; NULL = none */
	char *password;
	unsigned port; /* never 0 */
	bool tls;
};

bool url_parse(const char *text, struct url *out, GError **error);
/* `reference`: of a Location header received from `base`. Its credentials are dropped. */
bool url_resolve(const struct url *base, const char *reference, struct url *out, GError **error);
void url_clear(struct url *u);
typedef struct url url_auto;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(url_auto, url_clear)

/* For requests: everything but the credentials. */
char *url_text(const struct url *u);
/* For messages and logs: neither credentials nor the values of a query. */
char *url_display(const struct url *u);
/* May the credentials and headers of `home` be sent to `other`? The same
 * scheme, host and port, or the step from http on 80 to https on 443 of one host. */
bool url_trusts(const struct url *home, const struct url *other);
bool url_equal(const struct url *a, const struct url *b);
/* A path's bytes, percent-encoded except '/' and RFC 3986's unreserved characters. */
void url_append_path(GString *out, const char *path);
