/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/http/excess.h"
#include <string.h>
#include <sys/socket.h>
#include "fetch/base/error.h"

bool excess_expect(struct excess *x, const struct reply *r)
{
	bool counts = r->length > 0 && !r->framed && (r->status == 200 || r->status == 206);
	x->announced = x->left = counts ? (uint64_t)r->length : 0;
	return counts;
}

void excess_said(struct excess *x, const char *text, size_t length)
{
	static const char words[] = "Excess found";
	if (length >= sizeof(words) - 1 && memcmp(text, words, sizeof(words) - 1) == 0)
		x->found = true;
}

/* The server may announce that it closes the connection, and an encrypted connection to a proxy has
 * messages of its own. */
static bool is_message(const char *bytes, size_t length)
{
	return (length >= 5 && memcmp(bytes, "HTTP/", 5) == 0) ||
	       (length >= 2 && bytes[0] >= 0x14 && bytes[0] <= 0x18 && bytes[1] == 3);
}

/* libcurl does not read past the body. */
static bool connection_has_more(const struct excess *x)
{
	char bytes[5];
	ssize_t length = -1;
	if (x->fd >= 0)
		length = recv(x->fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
	return length > 0 && !is_message(bytes, (size_t)length);
}

bool excess_over(const struct excess *x, GError **error)
{
	if (x->announced == 0 || !x->found)
		return true;
	g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL,
	            "got more than the announced %" G_GUINT64_FORMAT " bytes", x->announced);
	return false;
}

bool excess_body(struct excess *x, size_t length, GError **error)
{
	x->left -= MIN(length, x->left);
	if (x->announced != 0 && x->left == 0)
		x->found = x->found || connection_has_more(x);
	return excess_over(x, error);
}
