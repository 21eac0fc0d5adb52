/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Answers that no honest server gives, and those that honest ones give now and then. */
#include "tests/unit/http_world.h"
#include "fetch/pool.h"
#include <string.h>

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

/* A head that begins with what would be the rest of a line: of libcurl's last answer, if it had
 * the handle still, and freed. Only the address sanitizer sees some of these. */
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

/* ---- sizes: HEAD, the listing, and a GET of the first byte */

#define HEAD(status, headers) "HTTP/1.1 " status " X|" headers "|"
#define BYTE(total) "HTTP/1.1 206 P|Content-Range: bytes 0-0/" total "|Content-Length: 1||x"

static void test_sizes(void)
{
	static const struct {
		const char *head, *get; /* NULL: must not be asked */
		const char *path;
		uint64_t listed;
		int code;
		uint64_t size;
	} all[] = {
	        /* HEAD is believed where nothing contradicts it */
	        {HEAD("200", "Content-Length: 229630|"), NULL, "f", 229376, -1, 229630},
	        {HEAD("200", "Content-Length: 229630|"), NULL, "f", 0, -1, 229630},
	        {HEAD("200", "Content-Length: 3|"), NULL, "f", 1024, -1, 3},
	        /* HEAD says 0: nobody would ever read such a file again */
	        {HEAD("200", "Content-Length: 0|"), BYTE("229630"), "f", 229376, -1, 229630},
	        {HEAD("200", "Content-Length: 0|"), BYTE("229630"), "f", 0, -1, 229630},
	        {HEAD("200", "Content-Length: 0|"),
	         "HTTP/1.1 416 No|Content-Range: bytes */0|Content-Length: 0||", "f", 0, -1, 0},
	        {HEAD("200", "Content-Length: 0|"), "HTTP/1.1 200 OK|Content-Length: 0||", "f",
	         229376, -1, 0},
	        {HEAD("200", "Content-Length: 0|"), "HTTP/1.1 403 No|Content-Length: 0||", "f", 0,
	         FETCH_DENIED, 0},
	        {HEAD("200", "Content-Length: 0|"), "HTTP/1.1 200 OK||", "f", 0, FETCH_PROTOCOL, 0},
	        /* HEAD contradicts the listing */
	        {HEAD("200", "Content-Length: 77|"), BYTE("229630"), "f", 229376, -1, 229630},
	        {HEAD("200", "Content-Length: 500000|"), BYTE("500000"), "f", 229376, -1, 500000},
	        {HEAD("200", "Content-Length: 77|"), BYTE("900000"), "f", 229376, FETCH_PROTOCOL,
	         0},
	        /* HEAD is refused */
	        {HEAD("400", "Content-Length: 9|"), BYTE("229630"), "f", 0, -1, 229630},
	        {HEAD("401", "Content-Length: 9|"), BYTE("229630"), "f", 0, -1, 229630},
	        {HEAD("403", "Content-Length: 9|"), BYTE("229630"), "f", 0, -1, 229630},
	        {HEAD("404", "Content-Length: 9|"), BYTE("229630"), "f", 0, -1, 229630},
	        {HEAD("410", "Content-Length: 9|"), BYTE("229630"), "f", 0, -1, 229630},
	        {HEAD("500", "Content-Length: 9|"), BYTE("229630"), "f", 0, -1, 229630},
	        {HEAD("429", "Content-Length: 9|"), NULL, "f", 0, FETCH_SERVER, 0},
	        {HEAD("503", "Content-Length: 9|"), NULL, "f", 0, FETCH_SERVER, 0},
	        {HEAD("403", "Content-Length: 9|"), "HTTP/1.1 404 No|Content-Length: 0||", "f", 0,
	         FETCH_MISSING, 0},
	        /* coded, and the file as it lies there */
	        {HEAD("200", "Content-Encoding: x-gzip|Content-Length: 9|"),
	         "HTTP/1.1 206 P|Content-Encoding: x-gzip|Content-Range: bytes "
	         "0-0/229630|Content-Length: 1||x",
	         "f.tar.gz", 0, -1, 229630},
	        {HEAD("200", "Content-Encoding: x-gzip|Content-Length: 9|"),
	         "HTTP/1.1 206 P|Content-Encoding: x-gzip|Content-Range: bytes "
	         "0-0/229630|Content-Length: 1||x",
	         "f", 229376, -1, 229630},
	        /* coded for this answer */
	        {HEAD("200", "Content-Encoding: gzip|Content-Length: 9|"),
	         "HTTP/1.1 200 OK|Content-Encoding: gzip|Content-Length: 1||x", "f", 229376,
	         FETCH_PROTOCOL, 0},
	        {HEAD("200", "Content-Encoding: gzip|Content-Length: 9|"),
	         "HTTP/1.1 206 P|Content-Encoding: gzip|Content-Range: bytes "
	         "0-0/77|Content-Length: "
	         "1||x",
	         "f", 0, FETCH_PROTOCOL, 0},
	        /* the first byte that is none */
	        {HEAD("405", "Content-Length: 9|"),
	         "HTTP/1.1 206 P|Content-Range: bytes 5-5/10|Content-Length: 1||x", "f", 0,
	         FETCH_PROTOCOL, 0},
	        {HEAD("405", "Content-Length: 9|"),
	         "HTTP/1.1 416 No|Content-Range: bytes */10|Content-Length: 0||", "f", 0,
	         FETCH_PROTOCOL, 0},
	        /* a directory */
	        {HEAD("301", "Location: /root/f/|"), NULL, "f", 0, FETCH_DIRECTORY, 0},
	        {HEAD("302", "Location: http://other.invalid/root/f/|"), NULL, "f", 0,
	         FETCH_DIRECTORY, 0},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
		struct world *w = world_new();
		g_test_message("case %zu", i);
		liar_tell(w->liar, "HEAD ", 1, LIAR_KEEP, all[i].head);
		if (all[i].get != NULL)
			liar_tell(w->liar, "GET ", 1, LIAR_CUT, all[i].get);
		world_open(w, "", 0);
		check_listed(w, all[i].path, all[i].listed, all[i].code, all[i].size);
		g_assert_cmpuint(liar_count(w->liar, "Range: bytes=0-0\r\n"), ==,
		                 all[i].get != NULL);
		world_free(w);
	}
}

/* A URL that was signed for HEAD is not the one for GET: the redirect is asked for again. */
static void test_signed(void)
{
	struct world *w = world_new();
	liar_tell(w->liar, "HEAD /root/f ", 1, LIAR_KEEP,
	          "HTTP/1.1 307 T|Location: /signed?for=head|Content-Length: 0||");
	liar_tell(w->liar, "HEAD /signed", 1, LIAR_KEEP, "HTTP/1.1 403 No|Content-Length: 9||");
	liar_tell(w->liar, "GET /root/f ", 1, LIAR_KEEP,
	          "HTTP/1.1 307 T|Location: /signed?for=get|Content-Length: 0||");
	liar_tell(w->liar, "GET /signed?for=get ", 1, LIAR_KEEP, BYTE("55"));
	world_open(w, "", 0);
	check_stat(w, -1, 55);
	world_free(w);
}

/* ---- bodies */

static void check_body(const char *range, const char *one, const char *two, enum liar_end end,
                       int code, const char *bytes)
{
	struct world *w = world_new();
	liar_tell(w->liar, "bytes=2-5\r\n", 0, end, one);
	liar_tell(w->liar, range, 0, LIAR_KEEP, two);
	world_open(w, "", 0);
	check_read(w, code, bytes);
	g_assert_cmpuint(liar_count(w->liar, range), ==, *two != '\0');
	world_free(w);
}

/* A part of what was asked for: the rest is asked for. */
static void test_parts(void)
{
#define P(range, etag, body)                                                                       \
	"HTTP/1.1 206 P|Content-Range: bytes " range "/10|ETag: " etag                             \
	"|Transfer-Encoding: chunked||" body
	check_body("bytes=4-5\r\n", P("2-3", "\"a\"", "2|23|0||"), P("4-5", "\"a\"", "2|45|0||"),
	           LIAR_KEEP, -1, "2345");
	check_body("bytes=4-5\r\n", P("2-3", "\"a\"", "2|23|0||"), P("4-5", "\"b\"", "2|45|0||"),
	           LIAR_KEEP, FETCH_CHANGED, "23");
	check_body("bytes=4-5\r\n", P("2-3", "\"a\"", "2|23|0||"), P("2-5", "\"a\"", "4|2345|0||"),
	           LIAR_KEEP, FETCH_PROTOCOL, "23");
	check_body("bytes=4-5\r\n", P("2-3", "\"a\"", "2|23|0||"), WHOLE, LIAR_KEEP, FETCH_PROTOCOL,
	           "23");
	check_body("bytes=4-5\r\n", P("2-3", "\"a\"", "3|234|0||"), "", LIAR_KEEP, FETCH_PROTOCOL,
	           "");
	check_body("bytes=4-5\r\n", P("3-5", "\"a\"", "3|345|0||"), "", LIAR_KEEP, FETCH_PROTOCOL,
	           "");
	check_body("bytes=4-5\r\n", P("2-6", "\"a\"", "5|23456|0||"), "", LIAR_KEEP, FETCH_PROTOCOL,
	           "");
#undef P
}

/* Without a length: as many bytes as were listed, or an error before the last one. */
static void test_unsized(void)
{
#define C(body) "HTTP/1.1 200 OK|Transfer-Encoding: chunked||" body
	check_body("no", C("a|0123456789|0||"), "", LIAR_KEEP, -1, "0123456789");
	check_body("no", C("3|012|4|3456|3|789|0||"), "", LIAR_KEEP, -1, "0123456789");
	check_body("no", C("9|012345678|0||"), "", LIAR_KEEP, FETCH_PROTOCOL, "012345678");
	check_body("no", C("9|012345678|1|9|1|a|0||"), "", LIAR_KEEP, FETCH_CHANGED, "012345678");
	check_body("no", C("b|0123456789a|0||"), "", LIAR_KEEP, FETCH_CHANGED, "");
	check_body("no", C("a|0123456789|"), "", LIAR_CUT, FETCH_UNREACHABLE, "012345678");
	check_body("no", "HTTP/1.1 200 OK||0123456789", "", LIAR_CUT, -1, "0123456789");
	check_body("no", "HTTP/1.1 200 OK||01234567", "", LIAR_CUT, FETCH_PROTOCOL, "01234567");
	check_body("no", "HTTP/1.1 200 OK|Content-Type: text/html||<html>0123", "", LIAR_CUT,
	           FETCH_PROTOCOL, "");
#undef C
	check_body("no",
	           "HTTP/1.1 206 P|Content-Range: bytes 2-5/10|Content-Length: 4|"
	           "Content-Encoding: x-gzip||2345",
	           "", LIAR_KEEP, -1, "2345");
}

int main(int argc, char **argv)
{
	char *home = home_make();
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/http-hard/cut-head", test_cut_head);
	g_test_add_func("/http-hard/folded", test_folded);
	g_test_add_func("/http-hard/sizes", test_sizes);
	g_test_add_func("/http-hard/signed", test_signed);
	g_test_add_func("/http-hard/parts", test_parts);
	g_test_add_func("/http-hard/unsized", test_unsized);
	int result = g_test_run();
	home_remove(home);
	return result;
}
