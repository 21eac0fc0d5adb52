/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by the tests of the index parsers: turns a page in pieces into a listing. */
#pragma once
#include "fetch/source/pages/index.h"
#include <string.h>
#include <sys/stat.h>

#define SECOND INT64_C(1000000000)
#define BASE "http://127.0.0.1:8000/tree/"

static struct listing *parse_body(const char *type, const char *base, const char *data,
                                  size_t length, size_t piece, bool delimited, GError **error)
{
	struct source_options options = {.file_mode = 0640, .uid = 11, .gid = 12};
	struct index_parser *p = index_parser_new(type, base, &options);
	if (!delimited)
		index_parser_undelimited(p);
	for (size_t at = 0; at < length; at += piece) {
		if (!index_parser_feed(p, data + at, MIN(piece, length - at), error)) {
			index_parser_free(p);
			return NULL;
		}
	}
	return index_parser_finish(p, "\"etag\"", 123, NULL, "some/dir", error);
}

static inline struct listing *parse(const char *type, const char *base, const char *data,
                                    size_t length, size_t piece, GError **error)
{
	return parse_body(type, base, data, length, piece, true, error);
}
