/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
/* What a handler reads as text: the answer to the attach line, and mountinfo. */
#include <stdlib.h>
#include <string.h>
#include "lib/attach.h"
#include "lib/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int inherited;
	uint32_t uid;
	char *text = malloc(size + 1); /* of its very size: a step too far is seen */
	memcpy(text, data, size);
	text[size] = '\0';
	if (reply_parse(text, &inherited) > 0)
		abort();
	FILE *f = size ? fmemopen(text, size, "r") : NULL;
	if (f && mountinfo_owner(f, 0, 41, &uid) > 0)
		abort();
	if (f)
		fclose(f);
	free(text);
	return 0;
}
