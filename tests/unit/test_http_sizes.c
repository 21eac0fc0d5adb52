/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A file's size, and whether it is a file: by HEAD, the listing, and a GET of the first byte. */
#include "tests/unit/http_world.h"

#define HEAD(status, headers) "HTTP/1.1 " status " X|" headers "|"
#define BYTE(total) "HTTP/1.1 206 P|Content-Range: bytes 0-0/" total "|Content-Length: 1||x"

static void test_sizes(void)
{
	static const struct {
		const char *head, *get; /* NULL: must not be requested */
		const char *path;
		uint64_t listed;
		int code;
		uint64_t size;
	} all[] = {
	        /* HEAD is used unless the listing contradicts it */
	        {HEAD("200", "Content-Length: 229630|"), NULL, "f", 229376, -1, 229630},
	        {HEAD("200", "Content-Length: 229630|"), NULL, "f", 0, -1, 229630},
	        {HEAD("200", "Content-Length: 3|"), NULL, "f", 1024, -1, 3},
	        /* HEAD has size 0: such a file would never be read again */
	        {HEAD("200", "Content-Length: 0|"), BYTE("229630"), "f", 229376, -1, 229630},
	        {HEAD("200", "Content-Length: 0|"), BYTE("229630"), "f", 0, -1, 229630},
	        {HEAD("200", "Content-Length: 0|"),
	         "HTTP/1.1 416 No|Content-Range: bytes */0|Content-Length: 0||", "f", 0, -1, 0},
	        {HEAD("200", "Content-Length: 0|"), "HTTP/1.1 200 OK|Content-Length: 0||", "f",
	         229376, -1, 0},
	        {HEAD("200", "Content-Length: 0|"), "HTTP/1.1 403 No|Content-Length: 0||", "f", 0,
	         FETCH_DENIED, 0},
	        {HEAD("200", "Content-Length: 0|"), "HTTP/1.1 200 OK||", "f", 0, FETCH_PROTOCOL, 0},
	        /* HEAD describes an HTML page, which may be the file or not */
	        {HEAD("200", "Content-Type: text/html|Content-Length: 47|"), BYTE("229630"), "f", 0,
	         -1, 229630},
	        {HEAD("200", "Content-Type: text/html|Content-Length: 47|"), BYTE("47"), "f", 0, -1,
	         47},
	        {HEAD("200", "Content-Type: text/html|Content-Length: 47|"), NULL, "f.html", 0, -1,
	         47},
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
	        /* coded, as the file is stored */
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
	        /* an answer without the first byte */
	        {HEAD("405", "Content-Length: 9|"),
	         "HTTP/1.1 206 P|Content-Range: bytes 5-5/10|Content-Length: 1||x", "f", 0,
	         FETCH_PROTOCOL, 0},
	        {HEAD("405", "Content-Length: 9|"),
	         "HTTP/1.1 416 No|Content-Range: bytes */10|Content-Length: 0||", "f", 0,
	         FETCH_PROTOCOL, 0},
	        /* a directory */
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

/* A file that redirects to itself and a slash is a directory, if there is one. */
static void test_slash(void)
{
	static const struct {
		const char *answer;
		int code;
	} all[] = {
	        {"HTTP/1.1 200 OK|Content-Type: text/html; charset=x|Content-Length: 0||",
	         FETCH_DIRECTORY},
	        {"HTTP/1.1 200 OK|Content-Type: application/json||[", FETCH_DIRECTORY},
	        {"HTTP/1.1 200 OK|Content-Length: 2||xx", FETCH_PROTOCOL},
	        {"HTTP/1.1 404 No|Content-Length: 0||", FETCH_MISSING},
	        {"HTTP/1.1 403 No|Content-Length: 0||", FETCH_DENIED},
	        {"HTTP/1.1 302 No|Location: /root/f|Content-Length: 0||", FETCH_PROTOCOL},
	        {"HTTP/1.1 302 No|Location: /login/|Content-Length: 0||", FETCH_PROTOCOL},
	        {"HTTP/1.1 302 No|Location: http://127.0.0.1:1/root/f/x/|Content-Length: 0||",
	         FETCH_PROTOCOL},
	        {"HTTP/1.1 302 No|Location: /root/f/?again|Content-Length: 0||", FETCH_DIRECTORY},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
		struct world *w = world_new();
		liar_tell(w->liar, "/root/f ", 0, LIAR_KEEP,
		          "HTTP/1.1 301 T|Location: f/|Content-Length: 0||");
		liar_tell(w->liar, "GET /root/f/ ", 0, LIAR_CUT, all[i].answer);
		liar_tell(w->liar, "", 0, LIAR_CUT, all[0].answer);
		world_open(w, "", 0);
		check_stat(w, all[i].code, 0);
		world_free(w);
	}
}

/* The root is a file: the error says so, and no other error does. */
static void test_root_is_a_file(void)
{
	struct world *w = world_new();
	liar_tell(w->liar, "GET /root/ ", 2, LIAR_KEEP, "HTTP/1.1 404 No|Content-Length: 0||");
	liar_tell(w->liar, "HEAD /root ", 1, LIAR_KEEP, HEAD("200", "Content-Length: 10|"));
	liar_tell(w->liar, "HEAD /root ", 0, LIAR_KEEP, HEAD("500", "Content-Length: 10|"));
	liar_tell(w->liar, "GET /root/ ", 0, LIAR_CUT, PAGE("", JSON));
	world_open(w, "", 0);
	g_assert_null(check_listing(w, "", NULL, FETCH_USAGE));
	g_assert_null(check_listing(w, "", NULL, FETCH_MISSING));
	listing_unref(check_listing(w, "", NULL, -1));
	g_assert_cmpuint(liar_count(w->liar, ""), ==, 5);
	world_free(w);
}

/* A missing directory is redirected to the front page, whose names are not its entries. */
static void test_above(void)
{
	struct world *w = world_new();
	liar_tell(w->liar, "GET /root/dir/ ", 1, LIAR_KEEP, TO("/root/"));
	liar_tell(w->liar, "GET /root/dir/ ", 1, LIAR_KEEP, TO("/root/other/"));
	liar_tell(w->liar, "", 0, LIAR_CUT, PAGE("", JSON));
	world_open(w, "", 0);
	g_assert_null(check_list(w, NULL, FETCH_PROTOCOL));
	listing_unref(check_list(w, NULL, -1));
	world_free(w);
}

/* A URL signed for HEAD is not valid for GET: the redirect is requested again. */
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

int main(int argc, char **argv)
{
	char *home = home_make();
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/http-sizes/sizes", test_sizes);
	g_test_add_func("/http-sizes/slash", test_slash);
	g_test_add_func("/http-sizes/root-is-a-file", test_root_is_a_file);
	g_test_add_func("/http-sizes/above", test_above);
	g_test_add_func("/http-sizes/signed", test_signed);
	int result = g_test_run();
	home_remove(home);
	return result;
}
