/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <string.h>
#include "fuse/control/request.h"
#include "fetch/base/error.h"
#include "fuse/base/jsontext.h"
#include "lacuna/control.h"

enum { DEPTH_MAX = 8 }; /* a request needs two */

static bool refuse(GError **error, const char *why)
{
	g_set_error_literal(error, FETCH_ERROR, FETCH_USAGE, why);
	return false;
}

static bool file_parse(JsonObject *object, struct request *r, GError **error)
{
	if (!json_ino(json_object_get_member(object, "ino"), &r->ino))
		return refuse(error, "file: expects an inode number as \"ino\"");
	JsonNode *bar = json_object_get_member(object, "bar");
	if (!bar)
		return true;
	if (!JSON_NODE_HOLDS_VALUE(bar) || json_node_get_value_type(bar) != G_TYPE_INT64 ||
	    json_node_get_int(bar) < 0 || json_node_get_int(bar) > REQUEST_BAR_MAX)
		return refuse(error, "file: expects a number from 0 to 4096 as \"bar\"");
	r->bar = (unsigned)json_node_get_int(bar);
	return true;
}

static bool list_parse(JsonObject *object, struct request *r, GError **error)
{
	JsonNode *node = json_object_get_member(object, "ino");
	if (!node || !JSON_NODE_HOLDS_ARRAY(node))
		return refuse(error, "expects an array of inode numbers as \"ino\"");
	JsonArray *list = json_node_get_array(node);
	unsigned count = json_array_get_length(list);
	g_autoptr(GArray) inos = g_array_sized_new(FALSE, FALSE, sizeof(uint64_t), count);
	for (unsigned i = 0; i < count; i++) {
		uint64_t ino;
		if (!json_ino(json_array_get_element(list, i), &ino))
			return refuse(error, "expects inode numbers in \"ino\"");
		g_array_append_val(inos, ino);
	}
	r->inos = g_steal_pointer(&inos);
	return true;
}

/* An optional member; NULL: it is no string. */
static const char *text_member(JsonObject *object, const char *name, const char *otherwise)
{
	JsonNode *node = json_object_get_member(object, name);
	if (!node)
		return otherwise;
	return JSON_NODE_HOLDS_VALUE(node) ? json_node_get_string(node) : NULL;
}

/* One of two words, the first by default. */
static bool word_member(JsonObject *object, const char *name, const char *first, const char *second,
                        bool *is_second)
{
	const char *text = text_member(object, name, first);
	*is_second = text && strcmp(text, second) == 0;
	return *is_second || (text && strcmp(text, first) == 0);
}

static bool number_member(JsonObject *object, const char *name, int64_t otherwise, int64_t *out)
{
	JsonNode *node = json_object_get_member(object, name);
	*out = otherwise;
	if (!node)
		return true;
	if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_INT64)
		return false;
	*out = json_node_get_int(node);
	return true;
}

static bool attach_parse(JsonObject *object, struct request *r, GError **error)
{
	int64_t version, backlog;
	const char *name = text_member(object, "name", "");
	if (!number_member(object, "version", LACUNA_PRECONTENT_VERSION, &version) ||
	    version != LACUNA_PRECONTENT_VERSION)
		return refuse(error, "attach: only \"version\" 1 is supported");
	if (!word_member(object, "mode", "holes", "every", &r->every))
		return refuse(error, "attach: expects holes or every as \"mode\"");
	if (!word_member(object, "class", "pre-content", "content", &r->content))
		return refuse(error, "attach: expects pre-content or content as \"class\"");
	if (!number_member(object, "backlog", LACUNA_BACKLOG, &backlog) || backlog < 1 ||
	    backlog > 1000000)
		return refuse(error, "attach: expects a number from 1 to 1000000 as \"backlog\"");
	if (!name || strlen(name) > LACUNA_NAME_MAX)
		return refuse(error, "attach: expects at most 63 bytes as \"name\"");
	for (const char *p = name; *p; p++)
		if (!g_ascii_isprint(*p) || *p == '"' || *p == '\\')
			return refuse(error, "attach: expects printable ASCII as \"name\"");
	r->backlog = (uint32_t)backlog;
	g_strlcpy(r->name, name, sizeof r->name);
	return true;
}

/* An optional one of true and false. */
static bool bool_member(JsonObject *object, const char *name, bool otherwise, bool *out)
{
	JsonNode *node = json_object_get_member(object, name);
	*out = otherwise;
	if (!node)
		return true;
	if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_BOOLEAN)
		return false;
	*out = json_node_get_boolean(node);
	return true;
}

static bool object_parse(JsonObject *object, struct request *r, GError **error)
{
	JsonNode *node = json_object_get_member(object, "verb");
	const char *verb = node && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_string(node) : NULL;
	if (!verb)
		return refuse(error, "expects a \"verb\"");
	if (strcmp(verb, "status") == 0) {
		r->verb = REQUEST_STATUS;
		return true;
	}
	if (strcmp(verb, "metrics") == 0) {
		r->verb = REQUEST_METRICS;
		return true;
	}
	if (strcmp(verb, "upgrade") == 0) {
		r->verb = REQUEST_UPGRADE;
		return true;
	}
	if (strcmp(verb, "pins") == 0) {
		r->verb = REQUEST_PINS;
		return true;
	}
	if (strcmp(verb, "trace") == 0) {
		r->verb = REQUEST_TRACE;
		return true;
	}
	if (strcmp(verb, "verify") == 0) {
		r->verb = REQUEST_VERIFY;
		return (bool_member(object, "repair", false, &r->repair) &&
		        bool_member(object, "bytes", true, &r->bytes)) ||
		       refuse(error, "verify: expects true or false as \"repair\" and \"bytes\"");
	}
	if (strcmp(verb, "file") == 0) {
		r->verb = REQUEST_FILE;
		return file_parse(object, r, error);
	}
	if (strcmp(verb, "attach") == 0) {
		r->verb = REQUEST_ATTACH;
		return attach_parse(object, r, error);
	}
	if (strcmp(verb, "dismiss") == 0) {
		const char *name = text_member(object, "name", NULL);
		if (!name || strlen(name) > LACUNA_NAME_MAX)
			return refuse(error, "dismiss: expects at most 63 bytes as \"name\"");
		r->verb = REQUEST_DISMISS;
		g_strlcpy(r->name, name, sizeof r->name);
		return true;
	}
	static const struct {
		const char *name;
		enum request_verb verb;
	} lists[] = {{"fill", REQUEST_FILL},
	             {"evict", REQUEST_EVICT},
	             {"refresh", REQUEST_REFRESH},
	             {"pin", REQUEST_PIN},
	             {"unpin", REQUEST_UNPIN}};
	for (size_t n = 0; n < G_N_ELEMENTS(lists); n++) {
		if (strcmp(verb, lists[n].name) != 0)
			continue;
		r->verb = lists[n].verb;
		return list_parse(object, r, error);
	}
	return refuse(error,
	              "unknown verb: expects status, file, fill, evict, refresh, pin, unpin, "
	              "pins, attach, dismiss, verify, metrics, upgrade or trace");
}

bool request_parse(const char *line, size_t length, struct request *out, GError **error)
{
	if (length > LACUNA_CONTROL_LINE)
		return refuse(error, "the request is too long");
	g_autoptr(JsonParser) parser = json_parser_new();
	if (!json_sane(line, length, DEPTH_MAX) ||
	    !json_parser_load_from_data(parser, line, (gssize)length, NULL))
		return refuse(error, "the request is not one object of JSON");
	JsonNode *root = json_parser_get_root(parser);
	if (!root || !JSON_NODE_HOLDS_OBJECT(root))
		return refuse(error, "the request is not one object of JSON");
	struct request r = {0};
	if (!object_parse(json_node_get_object(root), &r, error))
		return false;
	*out = r;
	return true;
}

void request_clear(struct request *r)
{
	if (r->inos)
		g_array_unref(r->inos);
	r->inos = NULL;
}
