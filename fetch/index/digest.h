/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* SHA-256 digests, and their text: 64 lower-case hex digits. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "fetch/index/format.h"

struct digest {
	uint8_t bytes[DIGEST_SIZE];
};
G_STATIC_ASSERT(sizeof(struct digest) == DIGEST_SIZE);

void digest_of(const void *data, size_t size, struct digest *out);
/* Of `count` parts, one behind the other. */
struct digest_part {
	const void *data;
	size_t size;
};
void digest_of_parts(const struct digest_part *parts, unsigned count, struct digest *out);
bool digest_equal(const struct digest *a, const struct digest *b);
/* Caller frees. */
char *digest_text(const struct digest *d);
/* false: the first 64 bytes of `text` are not one. */
bool digest_parse(const char *text, struct digest *out);
