/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The head of a published tree, which names its current index: format.h.
 * Trust: it comes from outside; head_parse() accepts no number out of its bounds
 */
#pragma once
#include "fetch/base/error.h"
#include "fetch/index/digest.h"
#include "fetch/index/signature.h"

struct head {
	struct digest root;
	uint64_t size; /* of the index */
	uint64_t serial;
	bool is_signed;
	struct signature signature; /* if it is */
};

/* `text`: HEAD_SIZE bytes. */
void head_format(const struct head *h, char *text);
/* Does it begin as a head does? A server may send a page of its own for what is not there. */
bool head_is(const char *text, size_t size);
bool head_parse(const char *text, size_t size, struct head *out, GError **error);
/* "index-<root>"; caller frees. */
char *head_index_name(const struct head *h);
/* "head-<root>": a copy of the head of that version; caller frees. */
char *head_copy_name(const struct head *h);

void head_sign(struct head *h, const struct signer *signer);
/* Is it signed by that key? */
bool head_signed(const struct head *h, const struct signer *signer);
/* *key: the one of `keys` that signed it. FETCH_PROTOCOL: none did. */
bool head_verify(const struct head *h, const struct keyring *keys, struct digest *key,
                 GError **error);
