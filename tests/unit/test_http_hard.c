/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Answers that no honest server gives, and those that honest ones give now and then. */
#include "tests/unit/http_world.h"
#include "fetch/base/pool.h"
#include "fetch/source/http/pace.h"

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

/* The server sends a part of the range: the rest is requested. */
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

/* An answer without a length has as many bytes as listed, or fails before the last one. */
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
#define P(body) "HTTP/1.1 206 P|Content-Range: bytes 2-5/10|" body
	check_body("no", P("Transfer-Encoding: chunked||4|2345|1|6|0||"), "", LIAR_KEEP,
	           FETCH_PROTOCOL, "234");
	check_body("no", P("Content-Length: 4|Transfer-Encoding: chunked||4|2345|1|6|0||"), "",
	           LIAR_KEEP, FETCH_PROTOCOL, "234");
	check_body("no", P("Transfer-Encoding: chunked||4|2345|"), "", LIAR_CUT, FETCH_UNREACHABLE,
	           "234");
	check_body("no", P("|2345"), "", LIAR_CUT, -1, "2345");
	check_body("no", P("|23456"), "", LIAR_CUT, FETCH_PROTOCOL, "");
#undef P
	check_body("no",
	           "HTTP/1.1 206 P|Content-Range: bytes 2-5/10|Content-Length: 4|"
	           "Content-Encoding: x-gzip||2345",
	           "", LIAR_KEEP, -1, "2345");
}

/* ---- Retry-After */

static unsigned elapsed_ms(int64_t from)
{
	return (unsigned)((clock_now() - from) / MS);
}

/* All requests for the file wait for Retry-After, except those that would time out before. */
static void test_later(void)
{
	struct world *w = world_new();
	w->options.wait_ms = 5000;
	liar_tell(w->liar, "GET ", 1, LIAR_KEEP,
	          "HTTP/1.1 503 Busy|Retry-After: 1|Content-Length: 0||");
	liar_tell(w->liar, "Range: ", 1, LIAR_KEEP, PART);
	liar_tell(w->liar, "GET ", 1, LIAR_KEEP,
	          "HTTP/1.1 429 Slow|Date: Sun, 06 Nov 1994 08:49:37 GMT|"
	          "Retry-After: Sun, 06 Nov 1994 08:49:38 GMT|Content-Length: 0||");
	liar_tell(w->liar, "Range: ", 1, LIAR_KEEP, PART);
	liar_tell(w->liar, "GET ", 1, LIAR_KEEP,
	          "HTTP/1.1 429 Slow|Retry-After: 60|Content-Length: 0||");
	world_open(w, "", 1);
	for (unsigned i = 0; i < 2; i++) {
		int64_t from = clock_now();
		check_read(w, -1, "2345");
		g_assert_cmpuint(elapsed_ms(from), >=, 1000);
	}
	for (unsigned i = 0; i < 3; i++)
		check_read(w, FETCH_SERVER, "");
	check_stat(w, FETCH_SERVER, 0); /* 429 is not of one file */
	g_assert_cmpuint(liar_count(w->liar, ""), ==, 5);
	world_free(w);
}

/* A Retry-After of one of many hosts that a server redirects to applies to no other host. */
static void test_later_elsewhere(void)
{
	struct liar *mirror = liar_new();
	struct world *w = world_new();
	g_autofree char *away = g_strdup_printf(TO("http://127.0.0.1:%u/x"), liar_port(mirror));
	liar_tell(mirror, "", 0, LIAR_KEEP,
	          "HTTP/1.1 429 Slow|Retry-After: 60|Content-Length: 0||");
	liar_tell(w->liar, "Range: ", 0, LIAR_KEEP, away);
	liar_tell(w->liar, "", 0, LIAR_CUT, PAGE("", JSON));
	world_open(w, "", 0);
	check_read(w, FETCH_SERVER, "");
	listing_unref(check_list(w, NULL, -1));
	check_read(w, FETCH_SERVER, ""); /* no further request for this file */
	g_assert_cmpuint(liar_count(mirror, ""), ==, 1);
	world_free(w);
	liar_free(mirror);
}

/* An endless page, a byte now and then: it ends with an error, and later requests are served. */
static void test_endless_page(void)
{
	struct world *w = world_new();
	w->options.stall_ms = 200;
	w->options.wait_ms = 100;
	g_autofree char *many = g_strnfill(200, ' '); /* 10 s of them */
	g_autofree char *page = g_strconcat(PAGE("", JSON), many, NULL);
	liar_tell(w->liar, "", 1, LIAR_DRIP, page);
	liar_tell(w->liar, "", 0, LIAR_CUT, PAGE("", JSON));
	world_open(w, "", 0);
	int64_t from = clock_now();
	g_assert_null(check_list(w, NULL, FETCH_TIMEOUT));
	g_assert_cmpuint(elapsed_ms(from), >=, 2000); /* ten times the longer of the two */
	listing_unref(check_list(w, NULL, -1));
	world_free(w);
}

/* A slow answer is no stall; a missing one ends with the wait. */
static void test_slow_head(void)
{
	struct world *w = world_new();
	w->options.stall_ms = 200;
	w->options.wait_ms = 3000;
	liar_tell(w->liar, "", 1, LIAR_LATE, PART);
	liar_tell(w->liar, "", 1, LIAR_STALL, "HTTP/1.1 206 P|X-");
	world_open(w, "", 3);
	int64_t from = clock_now();
	check_read(w, -1, "2345");
	g_assert_cmpuint(elapsed_ms(from), >=, LIAR_LATE_MS);
	from = clock_now();
	check_read(w, FETCH_TIMEOUT, "");
	g_assert_cmpuint(elapsed_ms(from), >=, 3000);
	g_assert_cmpuint(liar_count(w->liar, ""), ==, 2);
	world_free(w);
}

/* A server that serves two at a time, and refuses the others. */
static void test_crowded(void)
{
	struct world *w = world_new();
	struct reading x[24] = {0};
	liar_limit(w->liar, 2, "HTTP/1.1 503 Busy|Content-Length: 0||");
	liar_tell(w->liar, "", 0, LIAR_KEEP, PART);
	w->options.connections = 16;
	world_open(w, "", 0);
	for (size_t i = 0; i < G_N_ELEMENTS(x); i++)
		reading_start(&x[i], w->source, 2, 4);
	for (size_t i = 0; i < G_N_ELEMENTS(x); i++) {
		outcome_wait(&x[i].outcome);
		outcome_check(&x[i].outcome, -1);
	}
	/* a single request is not refused as one of too many */
	liar_limit(w->liar, 0, "HTTP/1.1 503 Busy|Content-Length: 0||");
	unsigned before = liar_count(w->liar, "");
	check_read(w, FETCH_SERVER, "");
	g_assert_cmpuint(liar_count(w->liar, ""), ==, before + 1);
	world_free(w);
}

static void test_pace(void)
{
	struct pace p = {.limit = 16};
	const int64_t s = INT64_C(1000000000);
	g_assert_cmpuint(pace_allowed(&p), ==, 16);
	g_assert_true(pace_refused(&p, 16, 10 * s, 11 * s));
	g_assert_true(pace_refused(&p, 16, 10 * s, 11 * s)); /* begun before: no halving */
	g_assert_cmpuint(pace_allowed(&p), ==, 8);
	g_assert_true(pace_refused(&p, 3, 12 * s, 12 * s));
	g_assert_cmpuint(pace_allowed(&p), ==, 1);
	g_assert_false(pace_refused(&p, 1, 13 * s, 13 * s));
	pace_answered(&p, 20 * s);
	g_assert_cmpuint(pace_allowed(&p), ==, 1);
	for (unsigned i = 2; i < 40; i++)
		pace_answered(&p, (12 + i * 10) * s);
	g_assert_cmpuint(pace_allowed(&p), ==, 16);
}

/* ---- versions */

static void check_versions(bool no_etag, const char *one, const char *two, int code)
{
	struct world *w = world_new();
	struct reading x = {0}, y = {0};
	g_autofree char *first = g_strdup_printf(
	        "HTTP/1.1 206 P|Content-Range: bytes 2-5/10|Content-Length: 4|%s||2345", one);
	g_autofree char *second = g_strdup_printf(
	        "HTTP/1.1 206 P|Content-Range: bytes 2-5/10|Content-Length: 4|%s||2345", two);
	liar_tell(w->liar, "", 1, LIAR_KEEP, first);
	liar_tell(w->liar, "", 1, LIAR_KEEP, second);
	w->options.no_etag = no_etag;
	world_open(w, "", 0);
	reading_start(&x, w->source, 2, 4);
	outcome_wait(&x.outcome);
	outcome_check(&x.outcome, -1);
	y.r.pinned = x.r.version;
	reading_start(&y, w->source, 2, 4);
	outcome_wait(&y.outcome);
	outcome_check(&y.outcome, code);
	world_free(w);
}

static void test_versions(void)
{
#define ON(day) "Last-Modified: Sun, " day " Nov 1994 08:49:37 GMT"
	check_versions(false, "ETag: \"a\"", "ETag: W/\"a\"", -1);
	check_versions(false, "ETag: \"a\"|" ON("06"), "ETag: \"b\"|" ON("06"), FETCH_CHANGED);
	check_versions(true, "ETag: \"a\"|" ON("06"), "ETag: \"b\"|" ON("06"), -1);
	check_versions(true, "ETag: \"a\"|" ON("06"), "ETag: \"a\"|" ON("13"), FETCH_CHANGED);
	check_versions(true, "ETag: \"a\"", "ETag: \"b\"", FETCH_CHANGED);
#undef ON
}

int main(int argc, char **argv)
{
	char *home = home_make();
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/http-hard/parts", test_parts);
	g_test_add_func("/http-hard/unsized", test_unsized);
	g_test_add_func("/http-hard/later", test_later);
	g_test_add_func("/http-hard/later-elsewhere", test_later_elsewhere);
	g_test_add_func("/http-hard/endless-page", test_endless_page);
	g_test_add_func("/http-hard/slow-head", test_slow_head);
	g_test_add_func("/http-hard/crowded", test_crowded);
	g_test_add_func("/http-hard/pace", test_pace);
	g_test_add_func("/http-hard/versions", test_versions);
	int result = g_test_run();
	home_remove(home);
	return result;
}
