/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Pages made by a test, and the names that result. */
#pragma once
#include "tests/unit/index_parse.h"

static inline struct listing *parse_text(const char *type, const char *text, GError **error)
{
	return parse(type, BASE, text, strlen(text), strlen(text) + 1, error);
}

/* The names, in order, each after a '|'; directories end in '/'. */
static inline char *names_of(const char *type, const char *base, const char *page)
{
	g_autoptr(GError) error = NULL;
	struct listing *l = parse(type, base, page, strlen(page), 16, &error);
	g_assert_no_error(error);
	GString *names = g_string_new(NULL);
	for (uint32_t i = 0; i < listing_count(l); i++) {
		const struct listing_entry *e = listing_at(l, i);
		g_string_append_printf(names, "|%s%s", listing_name(l, e),
		                       S_ISDIR(e->mode) ? "/" : "");
	}
	listing_unref(l);
	return g_string_free(names, FALSE);
}

#define PAGE(rows) "<html><head><title>Index of /tree/</title></head><body>" rows "</body></html>"
#define LINK(href) "<a href=\"" href "\">x</a>\n"
