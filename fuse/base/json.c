/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/json.h"
#include <string.h>
#include "fuse/base/caller.h"

void json_add_int(JsonBuilder *b, const char *name, uint64_t value)
{
	json_builder_set_member_name(b, name);
	json_builder_add_int_value(b, (gint64)MIN(value, INT64_MAX));
}

void json_add_bool(JsonBuilder *b, const char *name, bool value)
{
	json_builder_set_member_name(b, name);
	json_builder_add_boolean_value(b, value);
}

/* File names are bytes, JSON is UTF-8: invalid bytes become U+FFFD. */
void json_add_text(JsonBuilder *b, const char *name, const char *value)
{
	json_builder_set_member_name(b, name);
	if (!value) {
		json_builder_add_null_value(b);
		return;
	}
	g_autofree char *valid = g_utf8_make_valid(value, -1);
	json_builder_add_string_value(b, valid);
}

/* To a millisecond: more digits say nothing. */
void json_add_seconds(JsonBuilder *b, const char *name, int64_t ns)
{
	json_builder_set_member_name(b, name);
	json_builder_add_double_value(b, (double)(ns / 1000000) / 1000);
}

void json_add_time(JsonBuilder *b, const char *name, int64_t realtime_ns)
{
	g_autoptr(GDateTime) at = g_date_time_new_from_unix_utc(realtime_ns / 1000000000);
	g_autofree char *text = at ? g_date_time_format_iso8601(at) : NULL;
	json_add_text(b, name, text);
}

void json_add_process(JsonBuilder *b, pid_t pid)
{
	g_autofree char *comm = caller_text(pid, "comm");
	json_add_int(b, "pid", (uint64_t)pid);
	if (comm)
		g_strchomp(comm);
	json_add_text(b, "comm", pid > 0 ? comm : "lacunafs");
}

char *json_line(JsonBuilder *b, gsize *length)
{
	g_autoptr(JsonGenerator) generator = json_generator_new();
	g_autoptr(JsonNode) root = json_builder_get_root(b);
	json_generator_set_root(generator, root);
	char *text = json_generator_to_data(generator, length);
	text[(*length)++] = '\n'; /* in place of the NUL */
	return text;
}
