/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/cli/restate.h"
#include <string.h>
#include "fetch/base/path.h"
#include "fetch/index/signature.h"

static void add_word(GString *words, const char *word)
{
	g_string_append_len(words, word, (gssize)strlen(word) + 1);
}

static void add(GString *words, const char *option, const char *value)
{
	if (!value)
		return;
	add_word(words, option);
	add_word(words, value);
}

/* Of those with a path, which the settings have as an absolute one. */
static bool is_path(const char *option)
{
	return g_str_has_prefix(option, "store=") || g_str_has_prefix(option, "mirror=") ||
	       g_str_has_prefix(option, "verify_key=");
}

static void add_options(GString *words, const char *list)
{
	g_autoptr(GString) kept = g_string_new(NULL);
	for (const char *begin = list; *begin;) {
		size_t length = 0;
		while (begin[length] && begin[length] != ',')
			length += begin[length] == '\\' && begin[length + 1] ? 2 : 1;
		if (length && !is_path(begin)) {
			if (kept->len)
				g_string_append_c(kept, ',');
			g_string_append_len(kept, begin, (gssize)length);
		}
		begin += begin[length] ? length + 1 : length;
	}
	if (kept->len)
		add(words, "-o", kept->str);
}

static void add_path_option(GString *words, const char *name, const char *path)
{
	g_autofree char *whole = path ? path_absolute(path) : NULL;
	g_autoptr(GString) option = g_string_new(name);
	for (const char *c = whole ? whole : ""; *c; c++) {
		if (*c == ',' || *c == '\\')
			g_string_append_c(option, '\\');
		g_string_append_c(option, *c);
	}
	if (whole)
		add(words, "-o", option->str);
}

GString *restate(char **options, const struct settings *s)
{
	const struct source_options *o = &s->source_options;
	GString *words = g_string_new(NULL);
	g_autofree char *keys = o->keys ? keyring_text(o->keys) : NULL;
	add_word(words, keys ? keys : "");
	add_word(words, s->source);
	for (guint n = 0; n < s->mirror_names->len; n++)
		add_word(words, s->mirror_names->pdata[n]);
	add_word(words, "");
	for (char **list = options; list && *list; list++)
		add_options(words, *list);
	add_path_option(words, "verify_key=", s->verify_key);
	for (char **header = o->headers; header && *header; header++)
		add(words, "--header", *header);
	for (guint n = 0; n < s->mirrors->len; n++)
		add(words, "--mirror", s->mirrors->pdata[n]);
	add(words, "--store", s->store);
	add(words, "--token-file", o->token_file);
	add(words, "--query-file", o->query_file);
	add(words, "--ca-file", o->ca_file);
	add(words, "--cert", o->cert_file);
	add(words, "--key", o->key_file);
	add(words, "--log", s->log);
	if (s->foreground)
		add_word(words, "-f");
	add(words, "--", s->url);
	add_word(words, s->mountpoint);
	return words;
}
