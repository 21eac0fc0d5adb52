/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/index/head.h"
#include <string.h>

#define FIRST_LINE "lacuna 1\n"

void head_format(const struct head *h, char *text)
{
	g_autofree char *root = digest_text(&h->root);
	memset(text, ' ', HEAD_SIZE);
	int length = g_snprintf(text, HEAD_SIZE,
	                        FIRST_LINE "root %s\nsize %" G_GUINT64_FORMAT
	                                   "\nserial %" G_GUINT64_FORMAT "\n\n",
	                        root, h->size, h->serial);
	text[length] = ' '; /* the NUL */
	text[HEAD_SIZE - 1] = '\n';
}

bool head_is(const char *text, size_t size)
{
	return size >= 7 && memcmp(text, "lacuna ", 7) == 0;
}

static bool refused(GError **error, const char *why)
{
	g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL, "the head is invalid: %s", why);
	return false;
}

/* "WORD NUMBER\n" at *at, which moves behind it. */
static bool number_take(const char **at, const char *word, uint64_t *out)
{
	size_t length = strlen(word);
	if (strncmp(*at, word, length) != 0 || !g_ascii_isdigit((*at)[length]))
		return false;
	const char *p = *at + length;
	uint64_t n = 0;
	for (; g_ascii_isdigit(*p); p++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return false;
	if (*p != '\n')
		return false;
	*at = p + 1;
	*out = n;
	return true;
}

bool head_parse(const char *text, size_t size, struct head *out, GError **error)
{
	struct head h;
	char line[HEAD_SIZE + 1];
	if (size != HEAD_SIZE || memchr(text, '\0', size) != NULL)
		return refused(error, "it is not 512 bytes of text");
	memcpy(line, text, size);
	line[size] = '\0';
	const char *at = line;
	if (!g_str_has_prefix(at, FIRST_LINE))
		return refused(error,
		               "another version of the format; a newer lacunafs may know it");
	at += strlen(FIRST_LINE);
	if (!g_str_has_prefix(at, "root ") || !digest_parse(at + 5, &h.root) ||
	    at[5 + 2 * DIGEST_SIZE] != '\n')
		return refused(error, "its second line is not \"root <digest>\"");
	at += 5 + 2 * DIGEST_SIZE + 1;
	if (!number_take(&at, "size ", &h.size) || h.size < sizeof(struct index_tail) ||
	    h.size > INDEX_SIZE_MAX)
		return refused(error, "its third line is not the size of an index");
	if (!number_take(&at, "serial ", &h.serial))
		return refused(error, "its fourth line is not a serial number");
	if (strstr(at - 1, "\n\n") == NULL)
		return refused(error, "it has no end");
	*out = h;
	return true;
}

char *head_index_name(const struct head *h)
{
	g_autofree char *root = digest_text(&h->root);
	return g_strconcat("index-", root, NULL);
}
