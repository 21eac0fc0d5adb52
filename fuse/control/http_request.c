/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/control/http_request.h"
#include <string.h>

static const char *find(const char *data, size_t length, const char *what)
{
	return memmem(data, length, what, strlen(what));
}

static bool is(const char *data, size_t length, const char *text)
{
	return length == strlen(text) && memcmp(data, text, length) == 0;
}

/* METHOD SP TARGET SP VERSION; a query after the path is ignored. */
static unsigned line_status(const char *line, size_t length, bool *head)
{
	const char *target = memchr(line, ' ', length), *end = line + length, *version, *path_end;
	if (!target || target == line)
		return 400;
	size_t method = (size_t)(target - line);
	target++;
	version = memchr(target, ' ', (size_t)(end - target));
	if (!version || version == target || memchr(version + 1, ' ', (size_t)(end - version - 1)))
		return 400;
	if (end - version != 9 || memcmp(version, " HTTP/1.", 8) != 0 ||
	    (version[8] != '0' && version[8] != '1'))
		return 400;
	*head = is(line, method, "HEAD");
	if (!*head && !is(line, method, "GET"))
		return 405;
	path_end = memchr(target, '?', (size_t)(version - target));
	if (!path_end)
		path_end = version;
	return is(target, (size_t)(path_end - target), "/metrics") ? 200 : 404;
}

unsigned http_request_status(const char *data, size_t length, bool *head)
{
	const char *end = find(data, length, "\r\n\r\n"), *line_end;
	*head = false;
	if (!end)
		return length >= HTTP_REQUEST_MAX ? 431 : 0;
	if (memchr(data, '\0', (size_t)(end - data)))
		return 400;
	line_end = find(data, length, "\r\n");
	return line_status(data, (size_t)(line_end - data), head);
}

const char *http_reason(unsigned status)
{
	switch (status) {
	case 200:
		return "OK";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 431:
		return "Request Header Fields Too Large";
	default:
		return "Bad Request";
	}
}
