/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <string.h>
#include "fetch/base/error.h"
#include "fuse/base/jsontext.h"
#include "fuse/control/request.h"
#include "lacuna/control.h"

static bool parse(const char *line, struct request *r)
{
	return request_parse(line, strlen(line), r, NULL);
}

static void assert_refused(const char *line)
{
	static const struct request untouched = {.verb = REQUEST_FILL, .ino = 42};
	struct request r = untouched;
	g_autoptr(GError) error = NULL;
	if (request_parse(line, strlen(line), &r, &error))
		g_error("taken: %.100s", line);
	g_assert_error(error, FETCH_ERROR, FETCH_USAGE);
	g_assert_cmpmem(&r, sizeof(r), &untouched, sizeof(untouched));
}

static void test_good(void)
{
	struct request r = {0};
	g_assert_true(parse("{\"verb\": \"status\"}", &r));
	g_assert_cmpint(r.verb, ==, REQUEST_STATUS);
	g_assert_true(parse("{\"verb\":\"file\",\"ino\":\"18446744073709551615\",\"bar\":64,"
	                    "\"more\":1}",
	                    &r));
	g_assert_cmpint(r.verb, ==, REQUEST_FILE);
	g_assert_true(r.ino == UINT64_MAX);
	g_assert_cmpuint(r.bar, ==, 64);
	g_assert_true(parse("{\"verb\":\"fill\",\"ino\":[\"1\", 2, \"3\"]}", &r));
	g_assert_cmpint(r.verb, ==, REQUEST_FILL);
	g_assert_cmpuint(r.inos->len, ==, 3);
	for (unsigned i = 0; i < 3; i++)
		g_assert_cmpuint(g_array_index(r.inos, uint64_t, i), ==, i + 1);
	request_clear(&r);
	g_assert_null(r.inos);
	g_assert_true(parse("{\"verb\":\"fill\",\"ino\":[]}", &r));
	request_clear(&r);
}

static void test_bad(void)
{
	static const char *const lines[] = {
	        "",
	        " ",
	        "null",
	        "1",
	        "[]",
	        "{}",
	        "{",
	        "status",
	        "{\"verb\": \"status\"}{\"verb\": \"status\"}",
	        "{\"verb\": \"status\"} x",
	        "var x = {\"verb\": \"status\"}",
	        "{\"verb\": /* x */ \"status\"}",
	        "{\"verb\": \"status",
	        "{\"verb\": \"status\\",
	        "]",
	        "{]}",
	        "{\"verb\": 1}",
	        "{\"verb\": null}",
	        "{\"verb\": \"reboot\"}",
	        "{\"verb\": [\"status\"]}",
	        "{\"verb\": \"file\"}",
	        "{\"verb\": \"file\", \"ino\": 0}",
	        "{\"verb\": \"file\", \"ino\": -1}",
	        "{\"verb\": \"file\", \"ino\": 1.5}",
	        "{\"verb\": \"file\", \"ino\": \"\"}",
	        "{\"verb\": \"file\", \"ino\": \"0\"}",
	        "{\"verb\": \"file\", \"ino\": \"-1\"}",
	        "{\"verb\": \"file\", \"ino\": \"1x\"}",
	        "{\"verb\": \"file\", \"ino\": \"18446744073709551616\"}",
	        "{\"verb\": \"file\", \"ino\": [1]}",
	        "{\"verb\": \"file\", \"ino\": 1, \"bar\": -1}",
	        "{\"verb\": \"file\", \"ino\": 1, \"bar\": 4097}",
	        "{\"verb\": \"file\", \"ino\": 1, \"bar\": \"64\"}",
	        "{\"verb\": \"verify\", \"bytes\": 1}",
	        "{\"verb\": \"verify\", \"repair\": \"yes\"}",
	        "{\"verb\": \"verify\", \"repair\": [true]}",
	        "{\"verb\": \"fill\"}",
	        "{\"verb\": \"fill\", \"ino\": 1}",
	        "{\"verb\": \"fill\", \"ino\": [[1]]}",
	        "{\"verb\": \"fill\", \"ino\": [1, null]}",
	        "{\"verb\": \"fill\", \"ino\": {}}",
	        "\xff\xfe",
	        "{\"verb\": \"\xff\"}"};
	for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++)
		assert_refused(lines[i]);
}

static void test_verify(void)
{
	struct request r = {0};
	g_assert_true(parse("{\"verb\": \"verify\"}", &r));
	g_assert_true(r.verb == REQUEST_VERIFY && r.bytes && !r.repair);
	g_assert_true(parse("{\"verb\": \"verify\", \"bytes\": false, \"repair\": true}", &r));
	g_assert_true(r.verb == REQUEST_VERIFY && !r.bytes && r.repair);
}

/* A line of brackets would take the parser's stack. */
static void test_nested(void)
{
	g_autofree char *line = g_strnfill(LACUNA_CONTROL_LINE, '[');
	assert_refused(line);
	memset(line, '{', LACUNA_CONTROL_LINE);
	assert_refused(line);
}

static void test_long(void)
{
	g_autofree char *line = g_strnfill(LACUNA_CONTROL_LINE + 1, ' ');
	memcpy(line, "{\"verb\": \"status\"}", 18);
	assert_refused(line);
	line[LACUNA_CONTROL_LINE] = '\0';
	struct request r = {0};
	g_assert_true(parse(line, &r));
}

/* json-glib takes octal escapes for bytes: what is shown is UTF-8 all the same, and ends where it
 * ends. */
static void test_shown(void)
{
	static const char line[] = "{\"a\":\"x\\774\"}";
	g_autoptr(JsonParser) parser = json_parser_new();
	g_assert_true(json_sane(line, strlen(line), 2));
	g_assert_true(json_parser_load_from_data(parser, line, -1, NULL));
	g_autofree char *shown = json_shown(json_node_get_object(json_parser_get_root(parser)));
	g_assert_cmpstr(shown, ==, "{\"a\":\"x\357\277\275\"}");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/request/good", test_good);
	g_test_add_func("/request/bad", test_bad);
	g_test_add_func("/request/verify", test_verify);
	g_test_add_func("/request/nested", test_nested);
	g_test_add_func("/request/long", test_long);
	g_test_add_func("/request/shown", test_shown);
	return g_test_run();
}
