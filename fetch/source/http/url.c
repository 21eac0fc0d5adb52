/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/http/url.h"
#include "fetch/base/error.h"
#include <string.h>

#define URL_MAX 8192u

static bool is_unreserved(unsigned char c)
{
	return g_ascii_isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

static bool is_path(unsigned char c)
{
	return is_unreserved(c) || (c != '\0' && strchr("/!$&'()*+,;=:@", c) != NULL);
}

static void append_encoded(GString *out, unsigned char c)
{
	static const char hex[] = "0123456789ABCDEF";
	char code[3] = {'%', hex[c >> 4], hex[c & 15]};
	g_string_append_len(out, code, 3);
}

void url_append_path(GString *out, const char *path)
{
	for (; *path != '\0'; path++)
		if (is_unreserved((unsigned char)*path) || *path == '/')
			g_string_append_c(out, *path);
		else
			append_encoded(out, (unsigned char)*path);
}

/* The value of a percent code at `s`, -1 where there is none. */
static int code_value(const char *s)
{
	if (s[0] != '%' || !g_ascii_isxdigit(s[1]) || !g_ascii_isxdigit(s[2]))
		return -1;
	return g_ascii_xdigit_value(s[1]) << 4 | g_ascii_xdigit_value(s[2]);
}

/* One spelling for one path: codes of unreserved bytes decoded, all others in upper
 * case, bytes that may not stand bare encoded. */
static char *encoding_normalise(const char *s, size_t length, bool query)
{
	g_autoptr(GString) out = g_string_sized_new(length + 16);
	for (const char *end = s + length; s < end; s++) {
		int code = end - s >= 3 ? code_value(s) : -1;
		if (code >= 0) {
			if (is_unreserved((unsigned char)code) && !query)
				g_string_append_c(out, (char)code);
			else
				append_encoded(out, (unsigned char)code);
			s += 2;
		} else if (is_path((unsigned char)*s) || (query && *s == '?')) {
			g_string_append_c(out, *s);
		} else {
			append_encoded(out, (unsigned char)*s);
		}
	}
	return g_string_free(g_steal_pointer(&out), FALSE);
}

/* RFC 3986 5.2.4 on an absolute path. */
static char *dots_removed(const char *path)
{
	g_autoptr(GString) out = g_string_sized_new(strlen(path) + 1);
	while (*path == '/') {
		size_t length = strcspn(path + 1, "/");
		bool last = path[1 + length] == '\0';
		bool one = length == 1 && path[1] == '.';
		bool two = length == 2 && path[1] == '.' && path[2] == '.';
		if (two) {
			const char *slash = memrchr(out->str, '/', out->len);
			g_string_truncate(out, slash != NULL ? (size_t)(slash - out->str) : 0);
		}
		if (!one && !two)
			g_string_append_len(out, path, (gssize)(1 + length));
		else if (last)
			g_string_append_c(out, '/');
		path += 1 + length;
	}
	if (out->len == 0)
		g_string_append_c(out, '/');
	return g_string_free(g_steal_pointer(&out), FALSE);
}

static bool usage(GError **error, const char *what)
{
	g_set_error(error, FETCH_ERROR, FETCH_USAGE, "not a usable URL: %s", what);
	return false;
}

/* `text` from the path on: path, query, fragment. */
static bool parse_tail(const char *text, struct url *out, GError **error)
{
	size_t length = strcspn(text, "?#");
	g_autofree char *path = encoding_normalise(text, length, false);
	if (strstr(path, "%00") != NULL)
		return usage(error, "its path holds a NUL");
	out->path = dots_removed(path);
	if (text[length] == '?') {
		const char *query = text + length + 1;
		out->query = encoding_normalise(query, strcspn(query, "#"), true);
	}
	return true;
}

static bool parse_port(const char *s, struct url *out, GError **error)
{
	unsigned port = 0;
	if (*s == '\0' || strlen(s) > 5)
		return usage(error, "its port is not a number from 1 to 65535");
	for (; *s != '\0'; s++) {
		if (!g_ascii_isdigit(*s))
			return usage(error, "its port is not a number from 1 to 65535");
		port = port * 10 + (unsigned)(*s - '0');
	}
	if (port == 0 || port > 65535)
		return usage(error, "its port is not a number from 1 to 65535");
	out->port = port;
	return true;
}

static bool parse_name(const char *name, struct url *out, GError **error)
{
	if (*name == '\0')
		return usage(error, "it has no host");
	/* GLib's conversion is given nothing but short, valid UTF-8 */
	bool convertible = strlen(name) <= 253 && g_utf8_validate(name, -1, NULL);
	g_autofree char *ascii = convertible ? g_hostname_to_ascii(name) : NULL;
	/* U+034F and its like vanish in the conversion */
	if (ascii == NULL || *ascii == '\0' || strlen(ascii) > 253)
		return usage(error, "its host is not a name");
	for (const char *c = ascii; *c != '\0'; c++)
		if (!g_ascii_isalnum(*c) && *c != '-' && *c != '.' && *c != '_')
			return usage(error, "its host is not a name");
	out->host = g_ascii_strdown(ascii, -1);
	return true;
}

static bool parse_host(char *text, struct url *out, GError **error)
{
	char *port;
	if (text[0] == '[') {
		char *end = strchr(text, ']');
		g_autofree char *inner =
		        end != NULL ? g_strndup(text + 1, (gsize)(end - text - 1)) : NULL;
		if (inner == NULL || strchr(inner, ':') == NULL || strchr(inner, '%') != NULL ||
		    !g_hostname_is_ip_address(inner))
			return usage(error, "its host is not an IPv6 address");
		if (end[1] != '\0' && end[1] != ':')
			return usage(error, "something odd follows its host");
		port = end[1] == ':' ? end + 2 : NULL;
		end[1] = '\0';
		out->host = g_ascii_strdown(text, -1);
	} else {
		port = strchr(text, ':');
		if (port != NULL)
			*port++ = '\0';
		if (!parse_name(text, out, error))
			return false;
	}
	return port == NULL || *port == '\0' || parse_port(port, out, error);
}

/* A user or password as it stands in a URL: decoded, without control characters. */
static char *parse_secret(const char *text)
{
	g_autofree char *plain = g_uri_unescape_string(text, NULL);
	if (plain == NULL)
		return NULL;
	for (const unsigned char *c = (const unsigned char *)plain; *c != '\0'; c++)
		if (*c < 0x20 || *c == 0x7f)
			return NULL;
	return g_steal_pointer(&plain);
}

static bool parse_authority(char *text, struct url *out, GError **error)
{
	char *at = strrchr(text, '@');
	if (at == NULL)
		return parse_host(text, out, error);
	*at = '\0';
	char *colon = strchr(text, ':');
	if (colon != NULL)
		*colon = '\0';
	if (*text != '\0' || colon != NULL) {
		out->user = parse_secret(text);
		out->password = parse_secret(colon != NULL ? colon + 1 : "");
		if (out->user == NULL || out->password == NULL || strchr(out->user, ':') != NULL)
			return usage(error, "its user or password cannot be sent");
	}
	return parse_host(at + 1, out, error);
}

static bool parse_after_scheme(const char *text, struct url *u, GError **error)
{
	u->port = u->tls ? 443 : 80;
	size_t length = strcspn(text, "/?#\\");
	if (text[length] == '\\')
		return usage(error, "a backslash in its host");
	g_autofree char *authority = g_strndup(text, length);
	return parse_authority(authority, u, error) && parse_tail(text + length, u, error);
}

/* The rest of "http://…" or "https://…", NULL for any other text. */
static const char *scheme_strip(const char *text, bool *tls)
{
	if (g_ascii_strncasecmp(text, "http://", 7) == 0) {
		*tls = false;
		return text + 7;
	}
	if (g_ascii_strncasecmp(text, "https://", 8) == 0) {
		*tls = true;
		return text + 8;
	}
	return NULL;
}

bool url_parse(const char *text, struct url *out, GError **error)
{
	g_auto(url_auto) u = {0};
	if (strlen(text) > URL_MAX)
		return usage(error, "it is longer than 8192 bytes");
	const char *rest = scheme_strip(text, &u.tls);
	if (rest == NULL)
		return usage(error, "it begins with neither http:// nor https://");
	if (!parse_after_scheme(rest, &u, error))
		return false;
	*out = u;
	u = (struct url){0};
	return true;
}

static bool has_scheme(const char *reference)
{
	const char *c = reference;
	while (g_ascii_isalnum(*c) || *c == '+' || *c == '-' || *c == '.')
		c++;
	return *c == ':' && g_ascii_isalpha(reference[0]);
}

static char *path_merged(const struct url *base, const char *reference)
{
	if (reference[0] == '/')
		return g_strdup(reference);
	if (reference[0] == '\0' || reference[0] == '#')
		return g_strdup_printf("%s%s%s", base->path, base->query != NULL ? "?" : "",
		                       base->query != NULL ? base->query : "");
	if (reference[0] == '?')
		return g_strdup_printf("%s%s", base->path, reference);
	const char *slash = strrchr(base->path, '/');
	return g_strdup_printf("%.*s/%s", (int)(slash - base->path), base->path, reference);
}

bool url_resolve(const struct url *base, const char *reference, struct url *out, GError **error)
{
	g_auto(url_auto) u = {0};
	bool good;
	if (strlen(reference) > URL_MAX)
		return usage(error, "it is longer than 8192 bytes");
	if (has_scheme(reference)) {
		good = url_parse(reference, &u, error);
	} else if (g_str_has_prefix(reference, "//")) {
		u.tls = base->tls;
		good = parse_after_scheme(reference + 2, &u, error);
	} else {
		g_autofree char *tail = path_merged(base, reference);
		u.tls = base->tls;
		u.port = base->port;
		u.host = g_strdup(base->host);
		good = parse_tail(tail, &u, error);
	}
	if (!good)
		return false;
	g_clear_pointer(&u.user, g_free);
	g_clear_pointer(&u.password, g_free);
	*out = u;
	u = (struct url){0};
	return true;
}

void url_clear(struct url *u)
{
	g_free(u->host);
	g_free(u->path);
	g_free(u->query);
	g_free(u->user);
	g_free(u->password);
	*u = (struct url){0};
}

static GString *url_front(const struct url *u)
{
	GString *out = g_string_new(u->tls ? "https://" : "http://");
	g_string_append(out, u->host);
	if (u->port != (u->tls ? 443u : 80u))
		g_string_append_printf(out, ":%u", u->port);
	g_string_append(out, u->path);
	return out;
}

char *url_text(const struct url *u)
{
	GString *out = url_front(u);
	if (u->query != NULL) {
		g_string_append_c(out, '?');
		g_string_append(out, u->query);
	}
	return g_string_free(out, FALSE);
}

char *url_display(const struct url *u)
{
	GString *out = url_front(u);
	if (u->query != NULL)
		g_string_append(out, "?...");
	return g_string_free(out, FALSE);
}

bool url_trusts(const struct url *home, const struct url *other)
{
	if (strcmp(home->host, other->host) != 0)
		return false;
	if (home->tls == other->tls)
		return home->port == other->port;
	return other->tls && home->port == 80 && other->port == 443;
}

bool url_equal(const struct url *a, const struct url *b)
{
	return a->tls == b->tls && a->port == b->port && strcmp(a->host, b->host) == 0 &&
	       strcmp(a->path, b->path) == 0 && g_strcmp0(a->query, b->query) == 0;
}
