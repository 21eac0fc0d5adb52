/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/pages/index_private.h"
#include <string.h>

#define START_MAX 8192u /* as long as a URL may be */

/* Length of "scheme" where `url` begins with "scheme:", else 0. */
static size_t scheme_length(const char *url)
{
	if (!g_ascii_isalpha(url[0]))
		return 0;
	size_t n = 1;
	while (g_ascii_isalnum(url[n]) || url[n] == '+' || url[n] == '-' || url[n] == '.')
		n++;
	return url[n] == ':' ? n : 0;
}

/* Percent-decodes `length` bytes, once. A '%' without two digits stays itself: servers that
 * do not encode it mean it. Returns the decoded length; the capacity of `to` is `length`. */
static size_t segment_decode(const char *from, size_t length, char *to)
{
	size_t n = 0;
	for (size_t i = 0; i < length; i++) {
		if (from[i] == '%' && i + 2 < length && g_ascii_isxdigit(from[i + 1]) &&
		    g_ascii_isxdigit(from[i + 2])) {
			to[n++] = (char)(g_ascii_xdigit_value(from[i + 1]) << 4 |
			                 g_ascii_xdigit_value(from[i + 2]));
			i += 2;
		} else {
			to[n++] = from[i];
		}
	}
	return n;
}

/* Decoded copy, NULL where a NUL came out of it. */
static char *segment_dup(const char *from, size_t length)
{
	g_autofree char *to = g_malloc(length + 1);
	size_t n = segment_decode(from, length, to);
	to[n] = '\0';
	return memchr(to, '\0', n) != NULL ? NULL : g_steal_pointer(&to);
}

bool index_base_parse(struct index_base *base, const char *url)
{
	size_t scheme = scheme_length(url);
	if (scheme == 0 || strncmp(url + scheme, "://", 3) != 0)
		return false;
	const char *authority = url + scheme + 3;
	const char *path = authority + strcspn(authority, "/?#");
	const char *end = path + strcspn(path, "?#");
	g_autoptr(GPtrArray) segments = g_ptr_array_new_with_free_func(g_free);
	const char *at = *path == '/' ? path + 1 : path;
	for (const char *slash; (slash = memchr(at, '/', end - at)) != NULL; at = slash + 1) {
		char *segment = segment_dup(at, slash - at);
		if (segment == NULL)
			return false;
		g_ptr_array_add(segments, segment);
	}
	g_ptr_array_add(segments, NULL);
	base->scheme = g_ascii_strdown(url, scheme);
	base->authority = g_strndup(authority, path - authority);
	base->path = (char **)g_ptr_array_free(g_steal_pointer(&segments), FALSE);
	base->directory = at > path ? g_strndup(path, at - path) : g_strdup("/");
	return true;
}

void index_base_clear(struct index_base *base)
{
	g_clear_pointer(&base->scheme, g_free);
	g_clear_pointer(&base->authority, g_free);
	g_clear_pointer(&base->path, g_strfreev);
	g_clear_pointer(&base->directory, g_free);
	g_clear_pointer(&base->start, g_free);
}

/* user:password@ is no part of where a link leads */
static const char *host_of(const char *authority, size_t length)
{
	const char *at = memrchr(authority, '@', length);
	return at != NULL ? at + 1 : authority;
}

static bool authority_same(const char *mine, const char *other, size_t other_length)
{
	const char *a = host_of(mine, strlen(mine));
	const char *b = host_of(other, other_length);
	size_t length = other + other_length - b;
	return strlen(a) == length && g_ascii_strncasecmp(a, b, length) == 0;
}

static bool host_same(const char *mine, const char *other, size_t other_length)
{
	const char *a = host_of(mine, strlen(mine));
	const char *b = host_of(other, other_length);
	size_t end = strcspn(a, ":"), length = 0;
	while (b + length < other + other_length && b[length] != ':')
		length++;
	return end == length && g_ascii_strncasecmp(a, b, length) == 0;
}

/* `from` is a directory and `path`, of `length`, relative to it: without "." and "..". */
static char *path_join(const char *from, const char *path, size_t length)
{
	GString *out = g_string_new(from);
	const char *end = path + length;
	for (size_t size; path < end; path += MIN(size + 1, (size_t)(end - path))) {
		const char *slash = memchr(path, '/', end - path);
		size = (slash != NULL ? slash : end) - path;
		bool dot = size == 1 && path[0] == '.',
		     up = size == 2 && path[0] == '.' && path[1] == '.';
		if (up && out->len > 1)
			g_string_truncate(out, out->len - 1);
		while (up && out->str[out->len - 1] != '/')
			g_string_truncate(out, out->len - 1);
		if (!dot && !up)
			g_string_append_len(out, path, size + (slash != NULL));
	}
	return g_string_free(out, FALSE);
}

void index_base_move(struct index_base *base, const char *href)
{
	if (base->moved) /* only the first one is used */
		return;
	base->moved = true;
	href += strspn(href, " \t\r\n\f");
	size_t scheme = scheme_length(href);
	if (scheme > 0) {
		if (scheme != strlen(base->scheme) ||
		    g_ascii_strncasecmp(href, base->scheme, scheme) != 0)
			return;
		href += scheme + 1;
	}
	size_t length = strcspn(href, "?#");
	if (length >= 2 && href[0] == '/' && href[1] == '/') {
		size_t authority = strcspn(href + 2, "/?#");
		if (!authority_same(base->authority, href + 2, authority))
			return;
		href += 2 + authority;
		length -= 2 + authority;
	}
	bool absolute = length == 0 ? scheme > 0 : href[0] == '/';
	char *start = path_join(absolute ? "/" : base->directory, href + (length > 0 && absolute),
	                        length - (length > 0 && absolute));
	strrchr(start, '/')[1] = '\0';
	/* each link is joined to it: a million of them to one of a megabyte would never end */
	if (strlen(start) > START_MAX)
		g_clear_pointer(&start, g_free);
	base->start = start;
}

static bool segment_equal(const char *encoded, size_t length, const char *plain)
{
	size_t plain_length = strlen(plain);
	if (length < plain_length || length > 3 * plain_length)
		return false;
	g_autofree char *decoded = g_malloc(length + 1);
	return segment_decode(encoded, length, decoded) == plain_length &&
	       memcmp(decoded, plain, plain_length) == 0;
}

/* `path`, without its leading '/', against the base: its part below the base, or NULL with *link
 * set. */
static const char *below_base(const struct index_base *base, const char *path, const char *end,
                              enum index_link *link)
{
	for (char **segment = base->path; *segment != NULL; segment++) {
		if (path == end) {
			*link = INDEX_LINK_HERE;
			return NULL;
		}
		const char *slash = memchr(path, '/', end - path);
		bool same = segment_equal(path, (slash != NULL ? slash : end) - path, *segment);
		if (slash == NULL || !same) { /* an ancestor may lack its slash */
			*link = same ? INDEX_LINK_HERE : INDEX_LINK_ELSEWHERE;
			return NULL;
		}
		path = slash + 1;
	}
	return path;
}

static enum index_link child_of(const char *name, const char *end, bool more,
                                struct index_child *child, const char **why)
{
	const char *slash = memchr(name, '/', end - name);
	if (slash != NULL && slash + 1 != end)
		return INDEX_LINK_ELSEWHERE;
	size_t length = (slash != NULL ? slash : end) - name;
	char decoded[3 * 255 + 1];
	*why = NULL;
	if (more)
		*why = "a link with a query or fragment";
	else if (length == 0)
		*why = "an empty name";
	else if (length >= sizeof decoded)
		*why = "a name of more than 255 bytes";
	if (*why != NULL)
		return INDEX_LINK_BAD;
	length = segment_decode(name, length, decoded);
	if (length > 255) {
		*why = "a name of more than 255 bytes";
		return INDEX_LINK_BAD;
	}
	memcpy(child->name, decoded, length);
	child->name[length] = '\0';
	child->length = length;
	child->directory = slash != NULL;
	return INDEX_LINK_CHILD;
}

static bool query_sorts(const char *query)
{
	return (g_str_has_prefix(query, "?C=") && strstr(query, "O=") != NULL) ||
	       (g_str_has_prefix(query, "?sort=") && strstr(query, "order=") != NULL);
}

enum index_link index_link_resolve(const struct index_base *base, const char *href,
                                   struct index_child *child, const char **why)
{
	while (g_ascii_isspace(*href))
		href++;
	size_t scheme = scheme_length(href);
	if (scheme > 0) {
		if (strncmp(href + scheme, "://", 3) != 0)
			return INDEX_LINK_FOREIGN;
		const char *host = href + scheme + 3;
		if (scheme != strlen(base->scheme) ||
		    g_ascii_strncasecmp(href, base->scheme, scheme) != 0)
			return host_same(base->authority, host, strcspn(host, "/?#"))
			               ? INDEX_LINK_ELSEWHERE
			               : INDEX_LINK_FOREIGN;
		href += scheme + 1;
	}
	const char *end = href + strcspn(href, "?#");
	bool more = *end != '\0';
	if (!more)
		while (end > href && g_ascii_isspace(end[-1]))
			end--;
	if (end == href)
		return query_sorts(href) ? INDEX_LINK_SORT : INDEX_LINK_HERE;
	if (href[0] == '/' && href[1] == '/') {
		const char *authority = href + 2;
		const char *path = authority + strcspn(authority, "/?#");
		if (!authority_same(base->authority, authority, path - authority))
			return host_same(base->authority, authority, path - authority)
			               ? INDEX_LINK_ELSEWHERE
			               : INDEX_LINK_FOREIGN;
		href = path;
		if (href >= end)
			return INDEX_LINK_HERE;
	}
	g_autofree char *joined = NULL;
	bool up = end - href >= 2 && strncmp(href, "..", 2) == 0 &&
	          (end - href == 2 || (end - href == 3 && href[2] == '/'));
	if (href[0] != '/' && base->moved && !up) {
		if (base->start == NULL)
			return INDEX_LINK_ELSEWHERE;
		joined = path_join(base->start, href, end - href);
		href = joined;
		end = joined + strlen(joined);
	}
	if (href[0] == '/') {
		enum index_link link;
		href = below_base(base, href + 1, end, &link);
		if (href == NULL)
			return link;
	} else {
		while (href[0] == '.' && href[1] == '/' && end - href >= 2)
			href += 2;
		if (end - href >= 2 && strncmp(href, "..", 2) == 0 &&
		    (end - href == 2 || href[2] == '/'))
			return end - href <= 3 ? INDEX_LINK_PARENT : INDEX_LINK_ELSEWHERE;
	}
	if (href >= end || (end - href == 1 && href[0] == '.'))
		return INDEX_LINK_HERE;
	return child_of(href, end, more, child, why);
}
