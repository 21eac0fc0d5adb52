/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/index/head.h"
#include <string.h>

#define FIRST_LINE "lacuna 1\n"
#define SIGNATURE_WORD "signature "
#define SIGNATURE_DIGITS (2 * SIGNATURE_SIZE)

/* What a signature is of. The length. */
static int signed_text(const struct head *h, char *text)
{
	g_autofree char *root = digest_text(&h->root);
	return g_snprintf(text, HEAD_SIZE,
	                  FIRST_LINE "root %s\nsize %" G_GUINT64_FORMAT
	                             "\nserial %" G_GUINT64_FORMAT "\n",
	                  root, h->size, h->serial);
}

void head_format(const struct head *h, char *text)
{
	memset(text, ' ', HEAD_SIZE);
	char *at = text + signed_text(h, text);
	if (h->is_signed) {
		at = g_stpcpy(at, SIGNATURE_WORD);
		for (unsigned n = 0; n < SIGNATURE_SIZE; n++, at += 2)
			g_snprintf(at, 3, "%02x", h->signature.bytes[n]);
		*at++ = '\n';
	}
	*at++ = '\n';
	*at = ' '; /* the NUL */
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

/* SIGNATURE_DIGITS and the end of the line. */
static bool signature_parse(const char *at, struct signature *out)
{
	for (unsigned n = 0; n < SIGNATURE_DIGITS; n++) {
		int digit = g_ascii_xdigit_value(at[n]); /* -1 at the NUL, too */
		if (digit < 0)
			return false;
		out->bytes[n / 2] = (uint8_t)(out->bytes[n / 2] << 4 | digit);
	}
	return at[SIGNATURE_DIGITS] == '\n';
}

/* The lines that follow the serial number, to the empty one. */
static bool rest_parse(const char *at, struct head *h, GError **error)
{
	for (const char *end; *at != '\n'; at = end + 1) {
		end = strchr(at, '\n');
		if (end == NULL)
			return refused(error, "it has no end");
		if (!g_str_has_prefix(at, SIGNATURE_WORD))
			continue;
		if (h->is_signed || !signature_parse(at + strlen(SIGNATURE_WORD), &h->signature))
			return refused(error, "its signature is not one line of 128 hex digits");
		h->is_signed = true;
	}
	return true;
}

bool head_parse(const char *text, size_t size, struct head *out, GError **error)
{
	struct head h = {0};
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
	if (!rest_parse(at, &h, error))
		return false;
	*out = h;
	return true;
}

char *head_index_name(const struct head *h)
{
	g_autofree char *root = digest_text(&h->root);
	return g_strconcat("index-", root, NULL);
}

char *head_copy_name(const struct head *h)
{
	g_autofree char *root = digest_text(&h->root);
	return g_strconcat("head-", root, NULL);
}

void head_sign(struct head *h, const struct signer *signer)
{
	char text[HEAD_SIZE];
	signer_sign(signer, text, (size_t)signed_text(h, text), &h->signature);
	h->is_signed = true;
}

bool head_signed(const struct head *h, const struct signer *signer)
{
	char text[HEAD_SIZE];
	return h->is_signed &&
	       signer_signed(signer, text, (size_t)signed_text(h, text), &h->signature);
}

bool head_verify(const struct head *h, const struct keyring *keys, struct digest *key,
                 GError **error)
{
	char text[HEAD_SIZE];
	if (h->is_signed &&
	    keyring_check(keys, text, (size_t)signed_text(h, text), &h->signature, key))
		return true;
	g_set_error_literal(error, FETCH_ERROR, FETCH_PROTOCOL,
	                    h->is_signed ? "its signature is not of a key of -o verify_key"
	                                 : "it is not signed, which -o verify_key asks for");
	return false;
}
