/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <stdio.h>
#include "fetch/base/error.h"
#include "fuse/base/human.h"
#include "fuse/base/json.h"
#include "fuse/base/jsontext.h"
#include "fuse/cli/client.h"
#include "fuse/cli/verb.h"

static const char help[] =
        "Usage: lacunafs handlers [OPTION]... MOUNT\n"
        "\n"
        "Lists the handlers of a mount: name, process, state, mode, number of marks,\n"
        "number of pending events.\n"
        "\n"
        "  --dismiss NAME   remove the handlers of this name; requests pending on a dead\n"
        "                   one go to the other handlers, then to the source\n";

static char *shown(JsonObject *h, const char *member)
{
	return human_name(json_text(h, member, ""));
}

static void print_handler(JsonArray *list, guint n, JsonNode *node, gpointer user)
{
	if (!JSON_NODE_HOLDS_OBJECT(node))
		return;
	JsonObject *h = json_node_get_object(node);
	g_autofree char *name = shown(h, "name"), *comm = shown(h, "comm");
	g_autofree char *state = shown(h, "state"), *mode = shown(h, "mode");
	printf("%-20s  %s[%" G_GINT64_FORMAT "]  %s, mode %s, %" G_GINT64_FORMAT
	       " marks, %" G_GINT64_FORMAT " waiting\n",
	       *name ? name : "-", comm, json_int(h, "pid", 0), state, mode,
	       json_int(h, "marks", 0), json_int(h, "waiting", 0));
}

static JsonObject *ask(const struct mount *m, const char *verb, const char *name, GError **error)
{
	JsonBuilder *b = json_builder_new();
	json_builder_begin_object(b);
	json_add_text(b, "verb", verb);
	if (name)
		json_add_text(b, "name", name);
	json_builder_end_object(b);
	return client_ask(m, b, error);
}

static bool list(const struct mount *m, const void *unused, GError **error)
{
	JsonObject *answer = ask(m, "status", NULL, error);
	if (!answer)
		return false;
	JsonNode *node = json_object_get_member(answer, "handlers");
	if (node && JSON_NODE_HOLDS_ARRAY(node))
		json_array_foreach_element(json_node_get_array(node), print_handler, NULL);
	json_object_unref(answer);
	return true;
}

static bool dismiss(const struct mount *m, const void *name, GError **error)
{
	JsonObject *answer = ask(m, "dismiss", name, error);
	if (!answer)
		return false;
	bool any = json_int(answer, "dismissed", 0) > 0;
	json_object_unref(answer);
	if (!any)
		g_set_error(error, LOCAL_ERROR, ENOENT, "no handler is called \"%s\"",
		            (const char *)name);
	return any;
}

static int run(int argc, char **argv)
{
	g_autofree char *name = NULL;
	g_auto(GStrv) paths = NULL;
	const GOptionEntry entries[] = {{"dismiss", 0, 0, G_OPTION_ARG_STRING, &name}, {NULL}};
	if (!verb_options(&verb_handlers, argc, argv, entries, &paths))
		return EXIT_USAGE;
	return verb_of_mount(&verb_handlers, paths, name ? dismiss : list, name);
}

const struct verb verb_handlers = {"handlers", run, help};
