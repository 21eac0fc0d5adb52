/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What the targets of both index syntaxes share. */
#pragma once
#include "fetch/source/pages/index.h"
#include <stdlib.h>

static GLogWriterOutput log_drop(GLogLevelFlags level, const GLogField *fields, gsize count,
                                 gpointer user)
{
	return G_LOG_WRITER_HANDLED;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	g_log_set_writer_func(log_drop, NULL, NULL);
	return 0;
}

/* The first byte says in what pieces the rest arrives. What becomes a listing is one that
 * the store would take back. */
static void index_fuzz(const char *type, const uint8_t *data, size_t size)
{
	static const size_t pieces[] = {1, 3, 64, 1000, SIZE_MAX};
	if (size == 0)
		return;
	size_t piece = pieces[data[0] % G_N_ELEMENTS(pieces)];
	const char *page = (const char *)data + 1;
	size--;
	struct source_options options = {0};
	struct index_parser *p = index_parser_new(type, "http://host/a%20b/dir/", &options);
	for (size_t at = 0; at < size; at += MIN(piece, size - at))
		if (!index_parser_feed(p, page + at, MIN(piece, size - at), NULL))
			break;
	g_autoptr(GError) error = NULL;
	struct listing *l = index_parser_finish(p, "v", 1, NULL, "a b/dir", &error);
	if ((l == NULL) != (error != NULL))
		abort();
	if (l == NULL)
		return;
	g_autoptr(GBytes) bytes = listing_to_bytes(l);
	struct listing *again = listing_from_bytes(bytes, NULL);
	if (again == NULL || listing_count(again) != listing_count(l))
		abort();
	listing_unref(again);
	listing_unref(l);
}
