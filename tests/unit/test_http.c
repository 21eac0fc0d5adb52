/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Wrong answers of servers. The file is "0123456789". */
#include "fetch/base/pool.h"
#include "fetch/source/http/http.h"
#include "fetch/source/wrap/retry.h"
#include "tests/unit/http_world.h"
#include <arpa/inet.h>
#include <errno.h>
#include <glib/gstdio.h>
#include <pthread.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void check_answer(const char *answer, enum liar_end end, int code, const char *bytes)
{
	struct world *w = world_new();
	liar_tell(w->liar, "GET /root/dir/a%20file ", 0, end, answer);
	world_open(w, "", 0);
	check_read(w, code, bytes);
	g_assert_cmpuint(liar_count(w->liar, "\r\nRange: bytes=2-5\r\n"), ==, 1);
	g_assert_cmpuint(liar_count(w->liar, "\r\nAccept-Encoding: identity\r\n"), ==, 1);
	world_free(w);
}

static void test_answers(void)
{
#define HEAD206 "HTTP/1.1 206 Partial|Content-Length: 4|Content-Range: "
	check_answer(PART, LIAR_KEEP, -1, "2345");
	check_answer(WHOLE, LIAR_KEEP, -1, "0123456789");
	check_answer(
	        "HTTP/1.1 206 P|Transfer-Encoding: chunked|Content-Range: bytes 2-5/10||4|2345|0||",
	        LIAR_KEEP, -1, "2345");
	check_answer(HEAD206 "bytes 2-5/11||2345", LIAR_KEEP, FETCH_CHANGED, "");
	check_answer(HEAD206 "bytes 1-4/10||1234", LIAR_KEEP, FETCH_PROTOCOL, "");
	check_answer(HEAD206 "bytes 2-6/10||2345", LIAR_KEEP, FETCH_PROTOCOL, "");
	check_answer(HEAD206 "bytes 2-5/*||2345", LIAR_KEEP, FETCH_PROTOCOL, "");
	check_answer(HEAD206 "lines 2-5/10||2345", LIAR_KEEP, FETCH_PROTOCOL, "");
	check_answer(HEAD206 "bytes 2-5/11|Content-Encoding: gzip||2345", LIAR_KEEP, FETCH_CHANGED,
	             "");
	check_answer("HTTP/1.1 206 P|Transfer-Encoding: chunked|Content-Encoding: gzip|"
	             "Content-Range: bytes 2-5/10||4|2345|0||",
	             LIAR_KEEP, FETCH_PROTOCOL, "");
	check_answer("HTTP/1.1 200 OK|Content-Encoding: gzip|Content-Length: 6||012345", LIAR_KEEP,
	             FETCH_PROTOCOL, "");
	check_answer("HTTP/1.1 206 P|Content-Length: 4||2345", LIAR_KEEP, FETCH_PROTOCOL, "");
	check_answer("HTTP/1.1 206 P|Content-Length: 5|Content-Range: bytes 2-5/10||23456",
	             LIAR_KEEP, FETCH_PROTOCOL, "");
	check_answer("HTTP/1.1 206 P|Content-Type: multipart/byteranges; "
	             "boundary=x|Content-Length: 4||--x-",
	             LIAR_KEEP, FETCH_PROTOCOL, "");
	check_answer(
	        "HTTP/1.1 206 P|Transfer-Encoding: chunked|Content-Range: bytes 2-5/10||2|23|0||",
	        LIAR_KEEP, FETCH_PROTOCOL, "23");
	check_answer("HTTP/1.1 206 P|Transfer-Encoding: chunked|Content-Range: bytes "
	             "2-5/10||2|23|3|456|0||",
	             LIAR_KEEP, FETCH_PROTOCOL, "23");
	check_answer("HTTP/1.1 200 OK|Content-Length: 11||01234567890", LIAR_KEEP, FETCH_CHANGED,
	             "");
	check_answer("HTTP/1.1 200 OK|Content-Type: text/html|Content-Length: 6||<html>", LIAR_KEEP,
	             FETCH_PROTOCOL, "");
	check_answer("HTTP/1.1 416 No|Content-Range: bytes */1|Content-Length: 0||", LIAR_KEEP,
	             FETCH_CHANGED, "");
	check_answer("HTTP/1.1 204 No Content||", LIAR_KEEP, FETCH_PROTOCOL, "");
	check_answer(HEAD206 "bytes 2-5/10||23", LIAR_CUT, FETCH_UNREACHABLE, "23");
	check_answer("nonsense||", LIAR_CUT, FETCH_PROTOCOL, "");
	check_answer("", LIAR_CUT, FETCH_UNREACHABLE, "");
}

static void test_statuses(void)
{
	static const struct {
		unsigned status;
		enum fetch_error code;
	} known[] = {{401, FETCH_DENIED},  {403, FETCH_DENIED},  {404, FETCH_MISSING},
	             {407, FETCH_DENIED},  {410, FETCH_MISSING}, {429, FETCH_SERVER},
	             {500, FETCH_SERVER},  {503, FETCH_SERVER},  {400, FETCH_PROTOCOL},
	             {304, FETCH_PROTOCOL}};
	for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
		g_autofree char *text = g_strdup_printf(
		        "HTTP/1.1 %u It|Content-Length: %u||%s", known[i].status,
		        known[i].status == 304 ? 0 : 4, known[i].status == 304 ? "" : "what");
		check_answer(text, LIAR_KEEP, (int)known[i].code, "");
	}
}

/* Errors leave the connection usable: one connection serves them all. */
static void test_kept(void)
{
	struct world *w = world_new();
	liar_tell(w->liar, "", 1, LIAR_KEEP, "HTTP/1.1 404 No|Content-Length: 4||gone");
	liar_tell(w->liar, "", 1, LIAR_KEEP, TO("/root/other"));
	liar_tell(w->liar, "GET /root/other ", 1, LIAR_KEEP, PART);
	world_open(w, "", 0);
	check_read(w, FETCH_MISSING, "");
	check_read(w, -1, "2345");
	g_assert_cmpuint(liar_count(w->liar, ""), ==, 3);
	world_free(w);
}

/* A server closes a kept connection when the next request comes: the request is sent again on a new
 * one, at once and without a limit for the life of the mount. */
static void test_dropped(void)
{
	struct world *w = world_new();
	for (unsigned i = 0; i < 12; i++) {
		liar_tell(w->liar, "", 1, LIAR_KEEP, PART);
		liar_tell(w->liar, "", 1, LIAR_CUT, "");
	}
	world_open(w, "", 0);
	for (unsigned i = 0; i < 12; i++)
		check_read(w, -1, "2345");
	g_assert_cmpuint(liar_count(w->liar, ""), ==, 23);
	world_free(w);
}

static void test_pinned(void)
{
	struct world *w = world_new();
	struct reading x = {0}, y = {0}, z = {.refuse = -ENOSPC};
	liar_tell(w->liar, "", 2, LIAR_KEEP, PART);
	liar_tell(w->liar, "", 1, LIAR_KEEP,
	          "HTTP/1.1 206 P|Content-Range: bytes 2-5/10|Content-Length: 4|ETag: \"b\"||abcd");
	world_open(w, "", 3);
	reading_start(&z, w->source, 2, 4);
	outcome_wait(&z.outcome);
	g_assert_error(z.outcome.error, LOCAL_ERROR, ENOSPC);
	reading_start(&x, w->source, 2, 4);
	outcome_wait(&x.outcome);
	g_assert_no_error(x.outcome.error);
	g_assert_cmpuint(x.r.version, !=, 0);
	y.r.pinned = x.r.version;
	reading_start(&y, w->source, 2, 4);
	outcome_wait(&y.outcome);
	g_assert_error(y.outcome.error, FETCH_ERROR, FETCH_CHANGED);
	g_assert_cmpuint(y.count, ==, 0);
	g_error_free(y.outcome.error);
	g_error_free(z.outcome.error);
	world_free(w);
}

static void test_resumed(void)
{
	struct world *w = world_new();
	liar_tell(w->liar, "bytes=2-5", 1, LIAR_CUT,
	          "HTTP/1.1 206 P|Content-Range: bytes 2-5/10|Content-Length: 4|ETag: \"a\"||23");
	liar_tell(w->liar, "bytes=4-5", 1, LIAR_KEEP, "HTTP/1.1 503 Busy|Content-Length: 0||");
	liar_tell(w->liar, "bytes=4-5", 1, LIAR_KEEP, WHOLE);
	world_open(w, "", 3);
	check_read(w, -1, "2345");
	g_assert_cmpuint(liar_count(w->liar, ""), ==, 3);
	world_free(w);
}

static void test_stalled(void)
{
	static const struct {
		const char *answer;
		enum liar_end end;
		unsigned stall_ms;
	} all[] = {{"", LIAR_STALL, 300},
	           {"HTTP/1.1 206 P|Content-Le", LIAR_STALL, 300},
	           {"HTTP/1.1 206 P|Content-Range: bytes 2-5/10|Content-Length: 4||2", LIAR_STALL,
	            300},
	           {"HTTP/1.1 206 P|X-Drip: 0123456789012345678901234567890123456789", LIAR_DRIP,
	            1000}};
	for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
		struct world *w = world_new();
		liar_tell(w->liar, "", 0, all[i].end, all[i].answer);
		w->options.stall_ms = all[i].stall_ms;
		world_open(w, "", 0);
		int64_t from = clock_now();
		struct reading x = {0};
		reading_start(&x, w->source, 2, 4);
		outcome_wait(&x.outcome);
		g_assert_error(x.outcome.error, FETCH_ERROR, FETCH_TIMEOUT);
		g_assert_cmpint(clock_now() - from, >=, all[i].stall_ms * MS);
		g_assert_cmpint(clock_now() - from, <, 10000 * MS);
		g_error_free(x.outcome.error);
		world_free(w);
	}
}

static void test_unreachable(void)
{
	struct world *w = world_new();
	struct liar *gone = liar_new();
	unsigned port = liar_port(gone);
	liar_free(gone);
	world_open(w, "", 0);
	g_autofree char *to = g_strdup_printf(TO("http://127.0.0.1:%u/"), port);
	liar_tell(w->liar, "", 0, LIAR_KEEP, to);
	check_read(w, FETCH_UNREACHABLE, "");
	world_free(w);
}

/* A server accepts no connection: requests that wait for a slot do not wait for one deadline after
 * the other. */
static void test_no_connection(void)
{
	struct world w = {.options = {.no_netrc = true, .connect_ms = 1000}};
	struct sockaddr_in address = {.sin_family = AF_INET,
	                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	struct reading x[40] = {0};
	int fill[4], listener = socket(AF_INET, SOCK_STREAM, 0);
	g_assert_cmpint(bind(listener, (struct sockaddr *)&address, size), ==, 0);
	g_assert_cmpint(listen(listener, 0), ==, 0);
	g_assert_cmpint(getsockname(listener, (struct sockaddr *)&address, &size), ==, 0);
	for (size_t i = 0; i < G_N_ELEMENTS(fill); i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(fill[i], (struct sockaddr *)&address, size);
	}
	world_connect(&w, "", ntohs(address.sin_port), 0);
	int64_t from = clock_now();
	for (size_t i = 0; i < G_N_ELEMENTS(x); i++)
		reading_start(&x[i], w.source, 2, 4);
	for (size_t i = 0; i < G_N_ELEMENTS(x); i++) {
		outcome_wait(&x[i].outcome);
		g_assert_error(x[i].outcome.error, FETCH_ERROR, FETCH_TIMEOUT);
		g_error_free(x[i].outcome.error);
	}
	g_assert_cmpint(clock_now() - from, >=, 1000 * MS);
	g_assert_cmpint(clock_now() - from, <, 6000 * MS); /* ten rounds would be 10 s */
	source_close(w.source);
	g_free(w.root);
	for (size_t i = 0; i < G_N_ELEMENTS(fill); i++)
		close(fill[i]);
	close(listener);
}

/* close() ends requests that stall, that wait for a connection, and that wait for a retry. The
 * failing file is another one: its Retry-After delays all requests for it. 500: after 503, fewer
 * connections would be used. */
static void test_close(void)
{
	struct world *w = world_new();
	struct reading x[12] = {0};
	liar_tell(w->liar, "GET /root/failing ", 0, LIAR_KEEP,
	          "HTTP/1.1 500 Error|Retry-After: 60|Content-Length: 0||");
	liar_tell(w->liar, "", 0, LIAR_STALL, "");
	w->options.stall_ms = 60000;
	world_open(w, "", 3);
	for (size_t i = 0; i < G_N_ELEMENTS(x); i++)
		reading_start_path(&x[i], w->source, i < 2 ? "failing" : "dir/a file", 2, 4);
	while (liar_count(w->liar, "GET /root/failing ") < 1 ||
	       liar_count(w->liar, "GET /root/dir/a%20file ") < 4)
		g_usleep(1000);
	source_close(g_steal_pointer(&w->source));
	for (size_t i = 0; i < G_N_ELEMENTS(x); i++) {
		outcome_wait(&x[i].outcome);
		g_assert_error(x[i].outcome.error, FETCH_ERROR, FETCH_CANCELLED);
		g_error_free(x[i].outcome.error);
	}
	world_free(w);
}

/* ---- redirects and secrets ---- */

static void test_redirects(void)
{
	static const char *const bad[] = {
	        TO("/root/dir/a%20file"), TO("a%20file"),
	        TO("ftp://u:secret@h/"),  TO("http://u:secret@h:99999/?key=secret"),
	        TO("http://u:secret@/"),  "HTTP/1.1 301 Moved|Content-Length: 0||",
	};
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		check_answer(bad[i], LIAR_KEEP, FETCH_PROTOCOL, "");

	struct world *w = world_new();
	for (unsigned i = 0; i < 20; i++) {
		g_autofree char *match = g_strdup_printf("GET /hop%u ", i);
		g_autofree char *to = g_strdup_printf(TO("/hop%u"), i + 1);
		liar_tell(w->liar, match, 0, LIAR_KEEP, to);
	}
	liar_tell(w->liar, "/root/", 1, LIAR_KEEP, TO("/hop12?token=secret"));
	liar_tell(w->liar, "/root/", 1, LIAR_KEEP, TO("/hop13"));
	liar_tell(w->liar, "/hop12?token=secret", 0, LIAR_KEEP, TO("/hop13"));
	liar_tell(w->liar, "/hop20", 0, LIAR_KEEP, PART);
	world_open(w, "", 0);
	check_read(w, FETCH_PROTOCOL, "");
	g_assert_cmpuint(liar_count(w->liar, ""), ==, 9);
	check_read(w, -1, "2345");
	world_free(w);
}

/* ---- attributes and listings ---- */

static void test_stat(void)
{
	struct world *w = world_new();
	liar_tell(w->liar, "", 1, LIAR_KEEP, "HTTP/1.1 200 OK|Content-Length: 10|ETag: \"a\"||");
	/* no length: a GET follows, whose answer must have it */
	liar_tell(w->liar, "HEAD ", 2, LIAR_CUT, "HTTP/1.1 200 OK||");
	liar_tell(w->liar, "GET ", 1, LIAR_KEEP,
	          "HTTP/1.1 206 P|Content-Range: bytes 0-0/55|Content-Length: 1||x");
	liar_tell(w->liar, "GET ", 1, LIAR_CUT, "HTTP/1.1 200 OK||x");
	liar_tell(w->liar, "HEAD ", 1, LIAR_KEEP, "HTTP/1.1 404 No|Content-Length: 99||");
	liar_tell(w->liar, "GET ", 1, LIAR_KEEP, "HTTP/1.1 404 No|Content-Length: 0||");
	liar_tell(w->liar, "HEAD ", 0, LIAR_KEEP, "HTTP/1.1 405 No|Content-Length: 99||");
	liar_tell(w->liar, "", 1, LIAR_KEEP,
	          "HTTP/1.1 206 P|Content-Range: bytes 0-0/77|Content-Length: 1||x");
	liar_tell(w->liar, "", 1, LIAR_KEEP,
	          "HTTP/1.1 416 No|Content-Range: bytes */0|Content-Length: 0||");
	liar_tell(w->liar, "", 1, LIAR_KEEP, WHOLE);
	liar_tell(w->liar, "", 1, LIAR_KEEP, "HTTP/1.1 206 P|Content-Length: 1||x");
	world_open(w, "", 0);
	check_stat(w, -1, 10);
	check_stat(w, -1, 55);
	check_stat(w, FETCH_PROTOCOL, 0);
	check_stat(w, FETCH_MISSING, 0);
	check_stat(w, -1, 77);
	check_stat(w, -1, 0);
	check_stat(w, -1, 10);
	check_stat(w, FETCH_PROTOCOL, 0);
	g_assert_cmpuint(liar_count(w->liar, "GET /root/f HTTP/1.1\r\n"), ==, 7);
	world_free(w);
}

static void test_list(void)
{
	struct world *w = world_new();
	liar_tell(w->liar, "If-None-Match: \"v1\"\r\n", 1, LIAR_KEEP, "HTTP/1.1 304 Same||");
	liar_tell(w->liar, "If-None-Match: \"v1\"\r\n", 1, LIAR_CUT, PAGE("", JSON2));
	liar_tell(w->liar, "", 1, LIAR_CUT, PAGE("ETag: \"v1\"|", JSON));
	world_open(w, "", 0);
	struct listing *one = check_list(w, NULL, -1);
	uint32_t index;
	g_assert_true(listing_find(one, "f", &index));
	g_assert_cmpuint(listing_at(one, index)->size, ==, 3);
	listing_set_checked(one, 0);
	struct listing *two = check_list(w, one, -1);
	g_assert_true(two == one);
	g_assert_cmpint(listing_checked(one), >, 0);
	struct listing *three = check_list(w, two, -1);
	g_assert_true(three != one && listing_find(three, "g", &index));
	/* no validator, the same page: the same listing */
	liar_tell(w->liar, "", 1, LIAR_CUT, PAGE("", JSON2));
	struct listing *four = check_list(w, three, -1);
	g_assert_true(four == three);
	liar_tell(w->liar, "", 1, LIAR_KEEP, "HTTP/1.1 304 Same||");
	g_assert_null(check_list(w, three, FETCH_PROTOCOL));
	liar_tell(w->liar, "", 1, LIAR_KEEP,
	          "HTTP/1.1 200 OK|Content-Type: text/plain|Content-Length: 1||x");
	g_assert_null(check_list(w, three, FETCH_PROTOCOL));
	liar_tell(w->liar, "", 1, LIAR_KEEP,
	          "HTTP/1.1 200 OK|Content-Type: application/json|Content-Length: 5||[{\"na");
	g_assert_null(check_list(w, three, FETCH_SERVER));
	liar_tell(w->liar, "", 1, LIAR_KEEP, "HTTP/1.1 404 No|Content-Length: 0||");
	g_assert_null(check_list(w, three, FETCH_MISSING));
	liar_tell(w->liar, "", 1, LIAR_KEEP, TO("/elsewhere/"));
	liar_tell(w->liar, "GET /elsewhere/", 1, LIAR_CUT, PAGE("", JSON));
	struct listing *five = check_list(w, NULL, -1);
	g_assert_true(listing_find(five, "f", &index));
	g_assert_cmpuint(liar_count(w->liar, "GET /root/dir/ HTTP/1.1\r\n"), ==, 9);
	g_assert_cmpuint(liar_count(w->liar, "Accept: application/json, text/html;q=0.9\r\n"), ==,
	                 10);
	listing_unref(one);
	listing_unref(two);
	listing_unref(three);
	listing_unref(four);
	listing_unref(five);
	world_free(w);
}

int main(int argc, char **argv)
{
	char *home = home_make();
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/http/answers", test_answers);
	g_test_add_func("/http/statuses", test_statuses);
	g_test_add_func("/http/kept", test_kept);
	g_test_add_func("/http/dropped", test_dropped);
	g_test_add_func("/http/pinned", test_pinned);
	g_test_add_func("/http/resumed", test_resumed);
	g_test_add_func("/http/stalled", test_stalled);
	g_test_add_func("/http/unreachable", test_unreachable);
	g_test_add_func("/http/no-connection", test_no_connection);
	g_test_add_func("/http/close", test_close);
	g_test_add_func("/http/redirects", test_redirects);
	g_test_add_func("/http/stat", test_stat);
	g_test_add_func("/http/list", test_list);
	int result = g_test_run();
	home_remove(home);
	return result;
}
