/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Heads of answers that end too early, too late, or begin in the middle. */
#include "tests/unit/http_world.h"

/* The connection closes within the head: libcurl calls that a success. */
static void test_cut_head(void)
{
	static const char *const heads[] = {
	        "HTTP/1.1 200 OK",
	        "HTTP/1.1 200 OK|",
	        "HTTP/1.1 200 OK|Content-Type: application/json|",
	        "HTTP/1.1 200 OK|Content-Type: application/json|Content-Length: 10|ETag: \"a\"|",
	        "HTTP/1.1 206 P|Content-Range: bytes 2-5/10|Content-Length: 4|",
	        "HTTP/1.1 100 Go on||",
	        "HTTP/1.1 100 Go on||HTTP/1.1 200 OK|Content-Length: 0|",
	        "HTTP/1.1 404 No|Content-Length: 0|",
	        "HTTP/1.1 304 Same|",
	};
	for (size_t i = 0; i < G_N_ELEMENTS(heads); i++) {
		struct world *w = world_new();
		liar_tell(w->liar, "", 3, LIAR_CUT, heads[i]);
		liar_tell(w->liar, "HEAD ", 1, LIAR_KEEP,
		          "HTTP/1.1 200 OK|Content-Length: 10|ETag: \"a\"||");
		liar_tell(w->liar, "Range: ", 1, LIAR_KEEP, PART);
		liar_tell(w->liar, "GET ", 0, LIAR_CUT, PAGE("", JSON));
		world_open(w, "", 0);
		check_stat(w, FETCH_UNREACHABLE, 0);
		check_read(w, FETCH_UNREACHABLE, "");
		g_assert_null(check_list(w, NULL, FETCH_UNREACHABLE));
		check_stat(w, -1, 10);
		check_read(w, -1, "2345");
		listing_unref(check_list(w, NULL, -1));
		world_free(w);
	}
}

/* A head begins with a continuation line: libcurl would append it to a line of its last answer,
 * which is freed. Only the address sanitizer sees some of these. */
static void test_folded(void)
{
	static const char *const first[] = {
	        "\tX: y|",
	        " X: y|",
	        " |",
	        "\t \t|",
	        " A: b| A: b| A: b|  A: b|",
	        " AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA: "
	        "b|",
	};
	for (size_t i = 0; i < G_N_ELEMENTS(first); i++) {
		struct world *w = world_new();
		g_autofree char *answer = g_strdup_printf(
		        "HTTP/1.1 206 P|%sContent-Range: bytes 2-5/10|Content-Length: 4||2345",
		        first[i]);
		for (unsigned n = 0; n < 6; n++) {
			liar_tell(w->liar, "", 1, LIAR_KEEP,
			          "HTTP/1.1 206 P|Content-Range: bytes 2-5/10|"
			          "Content-Length: 4|X-Last: vvvvvvvvvvvvvvvvvvvvvvvv||2345");
			liar_tell(w->liar, "", 1, LIAR_KEEP, answer);
		}
		world_open(w, "", 0);
		for (unsigned n = 0; n < 6; n++) {
			check_read(w, -1, "2345");
			check_read(w, FETCH_PROTOCOL, "");
		}
		world_free(w);
	}
}

/* A head without an end, in one line or in many. */
static void test_long_head(void)
{
	g_autofree char *value = g_strnfill(1 << 20, 'e');
	g_autofree char *one = g_strdup_printf("HTTP/1.1 206 P|ETag: \"%s\"||", value);
	g_autoptr(GString) many = g_string_new("HTTP/1.1 206 P|");
	for (unsigned i = 0; i < 20000; i++)
		g_string_append_printf(many, "X-%u: 0123456789|", i);
	struct world *w = world_new();
	liar_tell(w->liar, "", 1, LIAR_CUT, one);
	liar_tell(w->liar, "", 1, LIAR_CUT, many->str);
	liar_tell(w->liar, "", 1, LIAR_KEEP, PART);
	world_open(w, "", 0);
	check_read(w, FETCH_PROTOCOL, "");
	check_read(w, FETCH_PROTOCOL, "");
	check_read(w, -1, "2345");
	world_free(w);
}

/* More bytes than Content-Length: an extra empty line after the head, or another length. In one
 * piece with the head, which libcurl drops, or behind a body that is longer than libcurl's buffer.
 */
static void test_excess(void)
{
#define P "HTTP/1.1 206 P|Content-Range: bytes 2-5/10|Content-Length: 4||"
#define W "HTTP/1.1 200 OK|Content-Length: 10||"
	static const char *const all[] = {
	        P "|2345", P "23456", P "\n2345", P "2345|", W "|0123456789", W "0123456789a",
	};
	for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
		for (enum liar_end end = LIAR_KEEP; end <= LIAR_CUT; end++) {
			struct world *w = world_new();
			g_test_message("case %zu", i);
			liar_tell(w->liar, "", 1, end, all[i]);
			liar_tell(w->liar, "", 1, LIAR_KEEP, PART);
			world_open(w, "", 0);
			check_read(w, FETCH_PROTOCOL, "");
			check_read(w, -1, "2345");
			world_free(w);
		}
#undef P
#undef W
}

/* The same where the body is not used. */
static void test_excess_of_nothing(void)
{
	struct world *w = world_new();
	liar_tell(w->liar, "HEAD ", 1, LIAR_KEEP,
	          "HTTP/1.1 200 OK|Content-Length: 10|ETag: \"a\"||0123456789");
	liar_tell(w->liar, "HEAD ", 1, LIAR_KEEP, "HTTP/1.1 405 No|Content-Length: 2||no!");
	liar_tell(w->liar, "bytes=0-0\r\n", 1, LIAR_KEEP,
	          "HTTP/1.1 206 P|Content-Range: bytes 0-0/10|Content-Length: 1||0123");
	liar_tell(w->liar, "bytes=2-5\r\n", 1, LIAR_KEEP, "HTTP/1.1 404 No|Content-Length: 2||no!");
	liar_tell(w->liar, "bytes=2-5\r\n", 1, LIAR_KEEP, PART);
	world_open(w, "", 0);
	check_stat(w, -1, 10);
	check_stat(w, -1, 10);
	check_read(w, FETCH_MISSING, "");
	check_read(w, -1, "2345");
	world_free(w);
}

int main(int argc, char **argv)
{
	char *home = home_make();
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/http-heads/cut-head", test_cut_head);
	g_test_add_func("/http-heads/folded", test_folded);
	g_test_add_func("/http-heads/long-head", test_long_head);
	g_test_add_func("/http-heads/excess", test_excess);
	g_test_add_func("/http-heads/excess-of-nothing", test_excess_of_nothing);
	int result = g_test_run();
	home_remove(home);
	return result;
}
