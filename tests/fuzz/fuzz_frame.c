/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A frame of a pack whose digest was right: 1 byte codec, 4 bytes the size that the index has, then
 * what is stored. It gives exactly that size, or an error of one line; content that is packed again
 * comes back. */
#include <stdlib.h>
#include <string.h>
#include "fetch/index/frame.h"

static void check(bool true_or_abort)
{
	if (!true_or_abort)
		abort();
}

static void pack_again(const uint8_t *content, size_t size)
{
	g_autofree uint8_t *stored = g_malloc(size), *again = g_malloc(size);
	struct frame_packer *p = frame_packer_new();
	enum frame_codec codec;
	size_t n = frame_pack(p, content, size, stored, &codec);
	check(n > 0 && n <= size && (codec == FRAME_STORED) == (n == size));
	check(frame_unpack(codec, stored, n, again, size, NULL));
	check(memcmp(content, again, size) == 0);
	frame_packer_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	uint32_t claims;
	g_autoptr(GError) error = NULL;
	if (size < 6)
		return 0;
	memcpy(&claims, input + 1, sizeof(claims));
	claims = claims % FRAME_SIZE + 1;
	/* of exactly that size: a byte beyond it is found */
	g_autofree uint8_t *content = g_malloc(claims);
	bool ok = frame_unpack(input[0], input + 5, size - 5, content, claims, &error);
	check(ok == (error == NULL));
	check(ok || (error->message[0] != '\0' && strchr(error->message, '\n') == NULL));
	if (ok)
		pack_again(content, claims);
	return 0;
}
