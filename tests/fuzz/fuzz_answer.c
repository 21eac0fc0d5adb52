/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The answer of another user's daemon, as root's `status` and `trace` show it, and any bytes as a
 * name: nothing controls the terminal. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "fuse/base/human.h"
#include "fuse/base/jsontext.h"
#include "fuse/cli/view.h"

static void check(bool true_or_abort)
{
	if (!true_or_abort)
		abort();
}

static void check_text(const char *text, bool lines)
{
	check(g_utf8_validate(text, -1, NULL));
	for (const char *p = text; *p; p = g_utf8_next_char(p))
		check((lines && *p == '\n') || !human_unsafe(g_utf8_get_char(p)));
}

static void check_name(const char *bytes)
{
	g_autofree char *shown = human_name(bytes);
	g_autofree char *again = human_name(shown);
	check_text(shown, false);
	check(strcmp(shown, again) == 0);
	for (unsigned columns = 0; columns < 40; columns += 7) {
		g_autofree char *fit = human_fit(shown, columns, columns % 2);
		check_text(fit, false);
		check(human_width(fit) == columns);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *line = (const char *)data;
	g_autofree char *name = g_strndup(line, size);
	check_name(name);
	if (!json_sane(line, size, 8))
		return 0;
	g_autoptr(JsonParser) parser = json_parser_new();
	JsonNode *root = json_parser_load_from_data(parser, line, (gssize)size, NULL)
	                         ? json_parser_get_root(parser)
	                         : NULL;
	if (!root || !JSON_NODE_HOLDS_OBJECT(root))
		return 0;
	JsonObject *answer = json_node_get_object(root);
	GString *out = g_string_new(NULL);
	view_mount(answer, out);
	view_file(answer, "name", size % 2, out);
	check_text(out->str, true);
	g_string_free(out, TRUE);
	g_autofree char *shown = json_shown(answer);
	check_text(shown, false);
	return 0;
}
