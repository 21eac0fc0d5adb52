/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "fetch/base/error.h"
#include "fuse/base/human.h"
#include "fuse/base/json.h"
#include "fuse/base/jsontext.h"
#include "fuse/cli/client.h"
#include "fuse/cli/verb.h"

static const char help[] =
        "Usage: lacunafs trace [--json] MOUNT\n"
        "\n"
        "Prints each request to handlers and to the source when it completes: time,\n"
        "operation, range, file, process, verdict (allow, fetch, deny; source: no handler\n"
        "was asked), error and duration. Ends with Ctrl-C or with the mount.\n"
        "\n"
        "  --json   one JSON object per line\n";

static const char *text(JsonObject *o, const char *name)
{
	return json_text(o, name, "");
}

static gint64 number(JsonObject *o, const char *name)
{
	return json_int(o, name, 0);
}

static void print_event(JsonObject *o)
{
	if (json_object_has_member(o, "missed")) {
		printf("%" G_GINT64_FORMAT " events were not shown: too many at once\n",
		       number(o, "missed"));
		return;
	}
	g_autofree char *path = human_name(text(o, "path"));
	g_autofree char *comm = human_name(text(o, "comm"));
	g_autofree char *operation = human_name(text(o, "operation"));
	g_autofree char *verdict = human_name(text(o, "verdict"));
	g_autofree char *when = human_name(text(o, "time"));
	const char *time = strchr(when, 'T');
	gint64 error = number(o, "errno");
	printf("%.8s  %s %" G_GINT64_FORMAT "+%" G_GINT64_FORMAT " %s  %s[%" G_GINT64_FORMAT
	       "] uid %" G_GINT64_FORMAT "  %s%s%s  %.3f ms\n",
	       time ? time + 1 : "", operation, number(o, "offset"), number(o, "length"), path,
	       comm, number(o, "pid"), number(o, "uid"), verdict, error ? ": " : "",
	       error ? g_strerror((int)error) : "", (double)number(o, "microseconds") / 1000);
}

static bool trace(const struct mount *m, const void *as_json, GError **error)
{
	const gboolean json = *(const gboolean *)as_json;
	struct client *c = client_open(m, error);
	JsonBuilder *b = json_builder_new();
	json_builder_begin_object(b);
	json_add_text(b, "verb", "trace");
	json_builder_end_object(b);
	bool ok = c && client_send(c, b, error);
	if (!c)
		g_object_unref(b);
	while (ok && !ferror(stdout) && client_wait(c)) {
		JsonObject *o = NULL;
		g_autoptr(GError) cause = NULL;
		if (!client_receive(c, 3600000, &o, &cause)) {
			if (g_error_matches(cause, LOCAL_ERROR, ETIMEDOUT))
				continue;
			g_propagate_error(error, g_steal_pointer(&cause));
			ok = false;
		} else if (!o) {
			break; /* unmounted */
		} else if (json) {
			g_autofree char *line = json_shown(o);
			puts(line);
		} else {
			print_event(o);
		}
		g_clear_pointer(&o, json_object_unref);
		fflush(stdout);
	}
	client_close(c);
	return ok;
}

static int run(int argc, char **argv)
{
	gboolean json = FALSE;
	g_auto(GStrv) paths = NULL;
	const GOptionEntry entries[] = {{"json", 0, 0, G_OPTION_ARG_NONE, &json}, {NULL}};
	if (!verb_options(&verb_trace, argc, argv, entries, &paths))
		return EXIT_USAGE;
	return verb_of_mount(&verb_trace, paths, trace, &json);
}

const struct verb verb_trace = {"trace", run, help};
