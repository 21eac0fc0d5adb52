/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* JSON index pages: one array of objects. The array is cut into batches of whole elements,
 * which json-glib then parses: a million entries need 64 KiB of tree, not 1 GB.
 * json-glib wants UTF-8 and servers copy names as they are: bytes that are none, go through
 * it as U+10FF80 … U+10FFFF. */
#include "fetch/source/pages/index_private.h"
#include <json-glib/json-glib.h>
#include <string.h>

#define BATCH 65536
#define ELEMENT_MAX 65536
#define DEPTH_MAX 16
#define BYTE_BASE (0x110000 - 0x100) /* + the byte */

struct json {
	struct index_page *page; /* borrowed */
	JsonParser *parser;
	GString *batch; /* '[' and elements */
	size_t element; /* start of the latest in batch */
	enum { BEFORE, FIRST, ELEMENT, AFTER_ELEMENT, AFTER_COMMA, AFTER } where;
	unsigned depth; /* within the element */
	bool in_string, escaped;
	unsigned hex;      /* digits still to come of a \u */
	uint16_t unit;     /* those so far */
	bool surrogate;    /* the latest was the first half of a pair, */
	size_t half;       /* which is there in batch */
	bool string_wrong; /* invalid JSON: json-glib leaks memory for such a string */
};

static void *json_new(struct index_page *page)
{
	struct json *j = g_new0(struct json, 1);
	j->page = page;
	j->parser = json_parser_new();
	j->batch = g_string_new("[");
	return j;
}

static void json_free(void *state)
{
	struct json *j = state;
	g_object_unref(j->parser);
	g_string_free(j->batch, TRUE);
	g_free(j);
}

static bool not_an_index(GError **error)
{
	g_set_error_literal(error, FETCH_ERROR, FETCH_PROTOCOL,
	                    "not a directory index (JSON of another kind)");
	return false;
}

static bool malformed(GError **error)
{
	g_set_error_literal(error, FETCH_ERROR, FETCH_PROTOCOL, "the index page is malformed JSON");
	return false;
}

/* Replaces bytes that are no UTF-8 by characters, and so the bytes of these characters, too. */
static char *bytes_escape(const char *text, size_t length)
{
	if (memchr(text, '\xf4', length) == NULL && g_utf8_validate(text, length, NULL))
		return g_strndup(text, length); /* as good as always */
	GString *to = g_string_sized_new(length + 64);
	const char *end = text + length;
	while (text < end) {
		gunichar c = g_utf8_get_char_validated(text, end - text);
		if (c < BYTE_BASE + 0x80) {
			const char *next = g_utf8_next_char(text);
			g_string_append_len(to, text, next - text);
			text = next;
		} else {
			g_string_append_unichar(to, BYTE_BASE + (unsigned char)*text++);
		}
	}
	return g_string_free(to, FALSE);
}

/* In place: the result is shorter. */
static void bytes_unescape(char *text)
{
	char *to = text;
	if (strchr(text, '\xf4') == NULL) /* none of U+100000 and above */
		return;
	for (const char *next; *text != '\0'; text = (char *)next) {
		gunichar c = g_utf8_get_char_validated(text, -1);
		if (c >= (gunichar)-2) {
			next = text + 1;
			*to++ = *text;
			continue;
		}
		next = g_utf8_next_char(text);
		if (c >= BYTE_BASE + 0x80) {
			*to++ = (char)(c - BYTE_BASE);
		} else {
			memmove(to, text, next - text);
			to += next - text;
		}
	}
	*to = '\0';
}

static JsonNode *member(JsonObject *object, const char *name, GType type)
{
	JsonNode *node = json_object_get_member(object, name);
	return node != NULL && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == type
	               ? node
	               : NULL;
}

static char *member_string(JsonObject *object, const char *name)
{
	JsonNode *node = member(object, name, G_TYPE_STRING);
	char *text = node != NULL ? json_node_dup_string(node) : NULL;
	if (text != NULL)
		bytes_unescape(text);
	return text;
}

static bool member_true(JsonObject *object, const char *name)
{
	JsonNode *node = member(object, name, G_TYPE_BOOLEAN);
	return node != NULL && json_node_get_boolean(node);
}

static const char leads_elsewhere[] = "leads elsewhere";

/* Named by its url if there is one (Caddy's names have lost bytes that are no UTF-8). NULL: fine,
 * else the reason. */
static const char *child_read(struct json *j, const char *name, const char *url,
                              struct index_child *child)
{
	if (url != NULL) {
		const char *why = "a url that is no child's";
		enum index_link link =
		        index_link_resolve(index_page_base(j->page), url, child, &why);
		return link == INDEX_LINK_CHILD ? NULL
		       : link == INDEX_LINK_ELSEWHERE || link == INDEX_LINK_FOREIGN
		               ? leads_elsewhere
		               : why;
	}
	size_t length = strlen(name);
	child->directory = length > 1 && name[length - 1] == '/';
	if (child->directory)
		length--;
	if (length >= sizeof child->name)
		return "a name of more than 255 bytes";
	memcpy(child->name, name, length);
	child->name[length] = '\0';
	child->length = length;
	return NULL;
}

static bool object_read(struct json *j, JsonObject *object, GError **error)
{
	g_autofree char *name = member_string(object, "name");
	g_autofree char *type = member_string(object, "type");
	g_autofree char *url = member_string(object, "url");
	JsonNode *is_dir = member(object, "is_dir", G_TYPE_BOOLEAN);
	if (name == NULL || (type == NULL && is_dir == NULL))
		return not_an_index(error);

	struct index_row row = {.dated = true};
	const char *why = child_read(j, name, url, &row.child);
	if (why == NULL && type != NULL && strcmp(type, "file") != 0 &&
	    strcmp(type, "directory") != 0)
		why = "neither a file nor a directory";
	if (why == leads_elsewhere)
		index_page_lost(j->page, url);
	else if (why != NULL)
		index_page_refuse(j->page, name, why);
	if (why != NULL)
		return true;
	row.child.directory =
	        type != NULL ? strcmp(type, "directory") == 0 : json_node_get_boolean(is_dir);
	/* the time shown for a symlink is its own, the size perhaps */
	bool symlink = member_true(object, "is_symlink");
	JsonNode *size = member(object, "size", G_TYPE_INT64);
	if (size != NULL && json_node_get_int(size) >= 0) {
		row.size = json_node_get_int(size);
		row.size_known = true;
		row.size_exact = !symlink;
	}
	g_autofree char *mtime = member_string(object, "mtime");
	if (mtime == NULL)
		mtime = member_string(object, "mod_time");
	row.mtime_known = mtime != NULL && !symlink &&
	                  index_time_parse(mtime, index_page_zone(j->page), &row.mtime_ns) > 0;
	index_page_add(j->page, &row);
	return true;
}

static bool batch_read(struct json *j, GError **error)
{
	if (j->batch->len == 1)
		return true;
	g_string_append_c(j->batch, ']');
	g_autofree char *escaped = bytes_escape(j->batch->str, j->batch->len);
	g_string_truncate(j->batch, 1);
	if (!json_parser_load_from_data(j->parser, escaped, -1, NULL))
		return malformed(error);
	JsonNode *root = json_parser_get_root(j->parser);
	if (root == NULL || !JSON_NODE_HOLDS_ARRAY(root))
		return not_an_index(error);
	JsonArray *array = json_node_get_array(root);
	for (guint i = 0; i < json_array_get_length(array); i++) {
		JsonNode *node = json_array_get_element(array, i);
		if (!JSON_NODE_HOLDS_OBJECT(node))
			return not_an_index(error);
		if (!object_read(j, json_node_get_object(node), error))
			return false;
	}
	return true;
}

/* json-glib would refuse the page for half a pair: it becomes \u0001, which no name may hold. */
static void half_refuse(struct json *j)
{
	if (j->surrogate)
		memcpy(j->batch->str + j->half, "\\u0001", 6);
	j->surrogate = false;
}

/* A digit of a \uXXXX, whose earlier characters are in the batch. Returns the digit to append. */
static char unit_step(struct json *j, char c)
{
	j->string_wrong |= !g_ascii_isxdigit(c);
	j->unit = (uint16_t)(j->unit << 4 | (g_ascii_xdigit_value(c) & 15));
	if (--j->hex > 0 || j->string_wrong)
		return c;
	size_t start = j->batch->len - 5;
	bool second = (j->unit & 0xfc00) == 0xdc00;
	if (j->surrogate && second) {
		j->surrogate = false;
		return c;
	}
	half_refuse(j);
	if ((j->unit & 0xfc00) == 0xd800) {
		j->surrogate = true;
		j->half = start;
	} else if (second && (j->unit & 0xff) >= 0x80 && j->unit < 0xdd00) {
		/* Python's form of a byte that is no UTF-8: replaced by ours */
		memcpy(j->batch->str + start + 2, "df", 2);
		g_string_insert(j->batch, start, "\\udbff");
	} else if (second || j->unit == 0) { /* a NUL would end the name */
		memcpy(j->batch->str + start, "\\u000", 5);
		return '1';
	}
	return c;
}

/* One byte within a string. */
static char string_step(struct json *j, char c)
{
	if (j->hex > 0)
		return unit_step(j, c);
	if (j->escaped) {
		j->escaped = false;
		j->hex = c == 'u' ? 4 : 0;
		j->unit = 0;
		j->string_wrong |= strchr("\"\\/bfnrtu", c) == NULL;
		if (c != 'u')
			half_refuse(j);
	} else if (c == '\\') {
		j->escaped = true;
	} else {
		half_refuse(j);
		j->in_string = c != '"';
	}
	return c;
}

static bool element_step(struct json *j, char c, GError **error)
{
	if (j->in_string) {
		c = string_step(j, c);
	} else if (c == '"') {
		j->in_string = true;
		j->surrogate = false;
	} else if (c == '{' || c == '[') {
		j->depth++;
	} else if (c == '}' || c == ']') {
		j->depth--;
	}
	g_string_append_c(j->batch, c);
	if (c == '\0' || j->depth > DEPTH_MAX || j->batch->len - j->element > ELEMENT_MAX) {
		g_set_error_literal(error, FETCH_ERROR, FETCH_PROTOCOL,
		                    "an index page of JSON nested too deep or with an entry too "
		                    "long");
		return false;
	}
	if (j->string_wrong)
		return malformed(error);
	if (j->depth > 0)
		return true;
	j->where = AFTER_ELEMENT;
	return j->batch->len < BATCH || batch_read(j, error);
}

static bool outer_step(struct json *j, char c, GError **error)
{
	switch (j->where) {
	case BEFORE:
		if (c == '\xef' || c == '\xbb' || c == '\xbf') /* byte order mark */
			return true;
		if (c != '[')
			return not_an_index(error);
		j->where = FIRST;
		return true;
	case FIRST:
	case AFTER_COMMA:
		if (c == ']' && j->where == FIRST) {
			j->where = AFTER;
			return true;
		}
		if (c != '{')
			return not_an_index(error);
		if (j->batch->len > 1)
			g_string_append_c(j->batch, ',');
		j->element = j->batch->len;
		j->depth = 0;
		j->where = ELEMENT;
		return element_step(j, c, error);
	case AFTER_ELEMENT:
		if (c != ',' && c != ']')
			return not_an_index(error);
		j->where = c == ',' ? AFTER_COMMA : AFTER;
		return true;
	default:
		return not_an_index(error);
	}
}

static bool json_feed(void *state, const char *data, size_t length, GError **error)
{
	struct json *j = state;
	for (size_t i = 0; i < length; i++) {
		if (j->where == ELEMENT) {
			if (!element_step(j, data[i], error))
				return false;
		} else if (!g_ascii_isspace(data[i]) && !outer_step(j, data[i], error)) {
			return false;
		}
	}
	return true;
}

static bool json_end(void *state, GError **error)
{
	struct json *j = state;
	if (j->where != AFTER) {
		g_set_error_literal(error, FETCH_ERROR, FETCH_SERVER,
		                    "the index page is truncated JSON");
		return false;
	}
	index_page_recognise(j->page);
	return batch_read(j, error);
}

const struct index_syntax index_json = {json_new, json_feed, json_end, json_free};
