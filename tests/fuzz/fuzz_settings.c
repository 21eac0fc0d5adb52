/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <stdlib.h>
#include <string.h>
#include "fuse/base/log.h"
#include "fuse/base/mounts.h"
#include "fuse/base/settings.h"
#include "fuse/cli/arguments.h"

/* The arguments of a mount, separated by newlines; then the same bytes as mountinfo and as
 * text to be logged. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_auto(GStrv) argv = g_strsplit(text, "\n", 64);
	g_autoptr(GError) error = NULL;
	struct settings *s = settings_parse((int)g_strv_length(argv), argv, &error);
	if (!s == !error || (error && strchr(error->message, '\n')))
		abort();
	if (s && (s->chunk_shift < 12 || s->chunk_shift > 22 || !s->wait_ms || !s->store[0] ||
	          s->mountpoint[0] != '/' || s->store[0] != '/' || s->threads > 64))
		abort();
	settings_free(s);
	g_ptr_array_unref(mounts_parse(text));
	size_t before = strlen(text);
	log_redact(text);
	if (strlen(text) != before)
		abort();
	return 0;
}
