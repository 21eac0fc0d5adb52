/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/index/digest.h"
#include <openssl/evp.h>
#include <string.h>

void digest_of_parts(const struct digest_part *parts, unsigned count, struct digest *out)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool ok = c != NULL && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1;
	for (unsigned i = 0; ok && i < count; i++)
		ok = EVP_DigestUpdate(c, parts[i].data, parts[i].size) == 1;
	ok = ok && EVP_DigestFinal_ex(c, out->bytes, NULL) == 1;
	EVP_MD_CTX_free(c);
	/* without memory, as g_malloc(); or a libcrypto without SHA-256 */
	if (!ok)
		g_error("libcrypto cannot compute SHA-256");
}

void digest_of(const void *data, size_t size, struct digest *out)
{
	digest_of_parts(&(struct digest_part){data, size}, 1, out);
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

char *digest_text(const struct digest *d)
{
	char *text = g_malloc(2 * DIGEST_SIZE + 1);
	for (unsigned i = 0; i < DIGEST_SIZE; i++)
		g_snprintf(text + 2 * i, 3, "%02x", d->bytes[i]);
	return text;
}

bool digest_parse(const char *text, struct digest *out)
{
	struct digest d;
	for (unsigned i = 0; i < DIGEST_SIZE; i++) {
		char high = text[2 * i], low = high != '\0' ? text[2 * i + 1] : '\0';
		if (!g_ascii_isxdigit(high) || !g_ascii_isxdigit(low) || g_ascii_isupper(high) ||
		    g_ascii_isupper(low))
			return false;
		d.bytes[i] = (uint8_t)(g_ascii_xdigit_value(high) << 4 | g_ascii_xdigit_value(low));
	}
	*out = d;
	return true;
}
