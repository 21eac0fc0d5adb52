/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/jsontext.h"
#include <string.h>
#include "fuse/base/human.h"

/* The end of the string that begins at line[i]. */
static size_t string_end(const char *line, size_t length, size_t i)
{
	for (i++; i < length && line[i] != '"'; i++)
		if (line[i] == '\\')
			i++;
	return i;
}

bool json_sane(const char *line, size_t length, unsigned depth_max)
{
	unsigned depth = 0;
	bool begun = false;
	for (size_t i = 0; i < length; i++) {
		char c = line[i];
		if (c == ' ' || c == '\t' || c == '\r')
			continue;
		if (depth == 0 && (begun || c != '{'))
			return false;
		begun = true;
		if (c == '"')
			i = string_end(line, length, i);
		else if (c == '/' || ((c == '[' || c == '{') && ++depth > depth_max))
			return false;
		else if (c == ']' || c == '}')
			depth--;
	}
	return begun && depth == 0;
}

char *json_shown(JsonObject *o)
{
	g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
	json_node_set_object(node, o);
	g_autofree char *text = json_to_string(node, FALSE);
	/* json-glib's strings may be no UTF-8: it takes octal escapes for bytes */
	g_autofree char *line = g_utf8_make_valid(text, -1);
	GString *out = g_string_sized_new(strlen(line));
	for (const char *p = line; *p; p = g_utf8_next_char(p)) {
		gunichar c = g_utf8_get_char(p);
		if (human_unsafe(c))
			g_string_append_printf(out, "\\u%04x", c);
		else
			g_string_append_unichar(out, c);
	}
	return g_string_free(out, FALSE);
}

static JsonNode *member(JsonObject *o, const char *name, GType type)
{
	JsonNode *node = json_object_get_member(o, name);
	return node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == type ? node
	                                                                                     : NULL;
}

const char *json_text(JsonObject *o, const char *name, const char *otherwise)
{
	JsonNode *node = member(o, name, G_TYPE_STRING);
	return node ? json_node_get_string(node) : otherwise;
}

int64_t json_int(JsonObject *o, const char *name, int64_t otherwise)
{
	JsonNode *node = member(o, name, G_TYPE_INT64);
	return node ? json_node_get_int(node) : otherwise;
}

double json_seconds(JsonObject *o, const char *name)
{
	JsonNode *node = member(o, name, G_TYPE_DOUBLE);
	return node ? json_node_get_double(node) : (double)json_int(o, name, 0);
}

bool json_true(JsonObject *o, const char *name)
{
	JsonNode *node = member(o, name, G_TYPE_BOOLEAN);
	return node && json_node_get_boolean(node);
}

bool json_ino(JsonNode *node, uint64_t *out)
{
	if (!node || !JSON_NODE_HOLDS_VALUE(node))
		return false;
	GType type = json_node_get_value_type(node);
	if (type == G_TYPE_INT64 && json_node_get_int(node) > 0) {
		*out = (uint64_t)json_node_get_int(node);
		return true;
	}
	guint64 value;
	if (type != G_TYPE_STRING || !g_ascii_string_to_unsigned(json_node_get_string(node), 10, 1,
	                                                         UINT64_MAX, &value, NULL))
		return false;
	*out = value;
	return true;
}
