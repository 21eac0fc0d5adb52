/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The files of a token and of a query, and a header from the command line, which the first line of
 * the input is: what is accepted cannot end the line of a request. */
#include "tests/fuzz/fuzz_dir.h"
#include <string.h>
#include "fetch/source/http/credentials.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	g_log_set_writer_func(fuzz_log_drop, NULL, NULL);
	fuzz_dir_new();
	return 0;
}

static void check_line(const char *text)
{
	for (const char *c = text; *c; c++)
		check((unsigned char)*c >= 0x20 && *c != 0x7f);
}

static void check_error(const char *text, const GError *error)
{
	check((text == NULL) == (error != NULL));
	if (error != NULL)
		check(strchr(error->message, '\n') == NULL);
	if (text != NULL)
		check_line(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *end = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t first = end != NULL ? (size_t)(end - (const char *)data) : 0;
	g_autofree char *header = g_strndup((const char *)data, first);
	g_autofree char *path = g_build_filename(fuzz_dir, "secret", NULL);
	char *headers[] = {header, NULL};
	struct source_options o = {.headers = first > 0 ? headers : NULL,
	                           .token_file = path,
	                           .query_file = path,
	                           .no_netrc = true};
	g_autoptr(GError) error = NULL, token_error = NULL, query_error = NULL;
	g_autofree char *token = NULL, *query = NULL;

	fuzz_file(AT_FDCWD, path, data + first, size - first);
	struct credentials *c = credentials_new(NULL, NULL, &o, &error);
	check((c == NULL) == (error != NULL));
	if (c == NULL)
		return 0;
	token = credentials_token(c, &token_error);
	check_error(token, token_error);
	query = credentials_query(c, &query_error);
	check_error(query, query_error);
	for (char **h = c->headers; *h; h++)
		for (const char *p = *h; *p; p++)
			check(*p == '\t' || ((unsigned char)*p >= 0x20 && *p != 0x7f));
	credentials_free(c);
	return 0;
}
