/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <stdio.h>
#include "fetch/base/error.h"
#include "fuse/base/json.h"
#include "fuse/base/jsontext.h"
#include "fuse/base/mounts.h"
#include "fuse/cli/client.h"
#include "fuse/cli/verb.h"

static const char help[] =
        "Usage: lacunafs metrics MOUNT\n"
        "\n"
        "Prints the mount's counters as OpenMetrics text: requests of the kernel and how\n"
        "long they took, data read and fetched, waits, errors. `-o metrics=` serves the\n"
        "same over HTTP.\n";

/* Of another user's daemon: no character that controls a terminal. */
static void print_text(const char *text)
{
	for (const char *p = text; *p; p++)
		putchar(*p == '\n' || g_ascii_isprint(*p) ? *p : '?');
}

static bool print(const struct mount *m, const void *unused, GError **error)
{
	JsonBuilder *b = json_builder_new();
	json_builder_begin_object(b);
	json_add_text(b, "verb", "metrics");
	json_builder_end_object(b);
	g_autoptr(JsonObject) answer = client_ask(m, b, error);
	const char *text = answer ? json_text(answer, "openmetrics", NULL) : NULL;
	if (text)
		print_text(text);
	else if (answer)
		g_set_error_literal(error, LOCAL_ERROR, EPROTO,
		                    "the daemon's answer makes no sense");
	return text;
}

static int run(int argc, char **argv)
{
	g_auto(GStrv) paths = NULL;
	const GOptionEntry entries[] = {{NULL}};
	if (!verb_options(&verb_metrics, argc, argv, entries, &paths))
		return EXIT_USAGE;
	return verb_of_mount(&verb_metrics, paths, print, NULL);
}

const struct verb verb_metrics = {"metrics", run, help};
