/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Whether a page of HTML has its end. The bytes are checked, not a parser's result: a parser closes
 * open elements by itself. No name can look like an end tag, which has a '/'. */
#include "fetch/source/pages/index_private.h"
#include <string.h>

static bool name_is(const struct index_end *end, const char *name)
{
	return end->length == strlen(name) && memcmp(end->name, name, end->length) == 0;
}

static void tag_take(struct index_end *end)
{
	bool document = name_is(end, "html") || name_is(end, "body");
	bool list = name_is(end, "pre") || name_is(end, "table") || name_is(end, "ul") ||
	            name_is(end, "ol") || name_is(end, "dl");
	if (document && end->closing)
		end->ended = true;
	else if (document)
		end->document = true;
	else if (list && end->closing)
		end->open -= end->open > 0;
	else if (list)
		end->open++;
	else if (!end->closing && name_is(end, "a") && (end->open > 0 || !end->listed))
		end->ended = false; /* that was the end of something else */
	end->listed |= list && !end->closing;
}

static void name_step(struct index_end *end, char c)
{
	if (c == '/' && end->length == 0 && !end->closing) {
		end->closing = true;
	} else if (g_ascii_isalnum(c) && end->length < sizeof end->name) {
		end->name[end->length++] = g_ascii_tolower(c);
	} else {
		end->angle = g_ascii_isalnum(c) && end->length > 0; /* longer than any of ours */
		if (!end->angle)
			tag_take(end);
	}
}

void index_end_scan(struct index_end *end, const char *text, size_t count)
{
	const char *stop = text + count;
	while (text < stop) {
		if (!end->angle) {
			text = memchr(text, '<', stop - text);
			if (text == NULL)
				return;
			end->angle = true;
			end->closing = false;
			end->length = 0;
			text++;
			continue;
		}
		char c = *text++;
		if (c == '<') {
			end->closing = false;
			end->length = 0;
		} else {
			name_step(end, c);
		}
	}
}

bool index_end_reached(const struct index_end *end, bool delimited)
{
	if (end->ended)
		return true;
	if (end->open > 0)
		return false;
	/* HTML allows omitting </html> and </body>: then the transport must see the end */
	return end->listed && !end->document ? true : delimited && (end->listed || !end->document);
}
