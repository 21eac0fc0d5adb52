/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/error.h"
#include "fetch/source/http/reply.h"
#include "fetch/source/http/url.h"
#include <string.h>

static void check_same(const char *in, const char *out)
{
	g_auto(url_auto) u = {0};
	g_autoptr(GError) error = NULL;
	url_parse(in, &u, &error);
	g_assert_no_error(error);
	g_autofree char *text = url_text(&u);
	g_assert_cmpstr(text, ==, out);
}

static void check_refused(const char *in)
{
	g_auto(url_auto) u = {0};
	g_autoptr(GError) error = NULL;
	if (url_parse(in, &u, &error))
		g_error("%s was taken", in);
	g_assert_error(error, FETCH_ERROR, FETCH_USAGE);
	g_assert_null(u.host);
	g_assert_null(strstr(error->message, "secret"));
	g_assert_null(strchr(error->message, '\n'));
}

static void test_normalise(void)
{
	check_same("HTTP://Mirror.Example:80/a/b", "http://mirror.example/a/b");
	check_same("https://h:443", "https://h/");
	check_same("https://h:80/x", "https://h:80/x");
	check_same("http://h:443/x", "http://h:443/x");
	check_same("http://h:/x", "http://h/x");
	check_same("http://h/a/./b/../c", "http://h/a/c");
	check_same("http://h/../../c/.", "http://h/c/");
	check_same("http://h/a/..", "http://h/");
	check_same("http://h/%7e/%2e%2E/x%2fy%2Fz", "http://h/x%2Fy%2Fz");
	check_same("http://h/a b\"<\xc3\xa9%", "http://h/a%20b%22%3C%C3%A9%25");
	check_same("http://h//x///y", "http://h//x///y");
	check_same("http://h?q=1#frag", "http://h/?q=1");
	check_same("http://h/a#frag?x", "http://h/a");
	check_same("http://u:secret@h/a@b:c", "http://h/a@b:c");
	check_same("http://[2001:DB8::1]:8080/x", "http://[2001:db8::1]:8080/x");
	check_same("http://b\xc3\xbc"
	           "cher.example/",
	           "http://xn--bcher-kva.example/");
}

static void test_refused(void)
{
	check_refused("");
	check_refused("http:/h/");
	check_refused("ftp://h/");
	check_refused("http://");
	check_refused("http:///path");
	check_refused("http://u:secret@/");
	check_refused("http://h:0/");
	check_refused("http://h:65536/");
	check_refused("http://h:8o/");
	check_refused("http://h:secret:1/");
	check_refused("http://h h/");
	check_refused("http://a.example\\@b.example/");
	check_refused("http://h%00.example/");
	check_refused("http://h\xd0!\x93/");
	check_refused("http://h%2eexample/");
	check_refused("http://[::1/");
	check_refused("http://[h]/");
	check_refused("http://[::1]x/");
	check_refused("http://h/a%00b");
	check_refused("http://u%0d%0aX:secret@h/");
	check_refused("http://u%3a:secret@h/");
}

static void test_credentials(void)
{
	g_auto(url_auto) u = {0};
	g_assert_true(url_parse("https://us%40er:p%3Aa@ss@h/x?key=secret", &u, NULL));
	g_assert_cmpstr(u.user, ==, "us@er");
	g_assert_cmpstr(u.password, ==, "p:a@ss");
	g_assert_cmpstr(u.host, ==, "h");
	g_autofree char *shown = url_display(&u);
	g_assert_cmpstr(shown, ==, "https://h/x?...");
	url_clear(&u);
	g_assert_true(url_parse("http://@h/", &u, NULL));
	g_assert_null(u.user);
	url_clear(&u);
	g_assert_true(url_parse("http://user@h/", &u, NULL));
	g_assert_cmpstr(u.user, ==, "user");
	g_assert_cmpstr(u.password, ==, "");
}

static void check_resolved(const char *reference, const char *out)
{
	g_auto(url_auto) base = {0};
	g_auto(url_auto) u = {0};
	g_autoptr(GError) error = NULL;
	g_assert_true(url_parse("http://a:81/b/c/d?q", &base, NULL));
	url_resolve(&base, reference, &u, &error);
	g_assert_no_error(error);
	g_autofree char *text = url_text(&u);
	g_assert_cmpstr(text, ==, out);
	g_assert_null(u.user);
}

static void test_resolve(void)
{
	check_resolved("g", "http://a:81/b/c/g");
	check_resolved("./g/", "http://a:81/b/c/g/");
	check_resolved("../../../g", "http://a:81/g");
	check_resolved("/g?x=y", "http://a:81/g?x=y");
	check_resolved("//other/g", "http://other/g");
	check_resolved("?y", "http://a:81/b/c/d?y");
	check_resolved("", "http://a:81/b/c/d?q");
	check_resolved("#s", "http://a:81/b/c/d?q");
	check_resolved("https://u:secret@z/../x", "https://z/x");
	check_resolved("g h\r\n\tX: y", "http://a:81/b/c/g%20h%0D%0A%09X:%20y");

	g_auto(url_auto) base = {0};
	g_auto(url_auto) u = {0};
	g_assert_true(url_parse("http://a/b", &base, NULL));
	g_assert_false(url_resolve(&base, "ftp://a/b", &u, NULL));
	g_assert_false(url_resolve(&base, "javascript:x", &u, NULL));
	g_assert_false(url_resolve(&base, "//", &u, NULL));
}

static bool trusts(const char *home, const char *other)
{
	g_auto(url_auto) a = {0};
	g_auto(url_auto) b = {0};
	g_assert_true(url_parse(home, &a, NULL) && url_parse(other, &b, NULL));
	return url_trusts(&a, &b);
}

static void test_trust(void)
{
	g_assert_true(trusts("http://h/a/", "http://H:80/z"));
	g_assert_true(trusts("http://h/", "https://h/"));
	g_assert_true(trusts("https://h:8443/", "https://h:8443/x"));
	g_assert_false(trusts("https://h/", "http://h/"));
	g_assert_false(trusts("https://h/", "https://h:8443/"));
	g_assert_false(trusts("http://h:8080/", "https://h/"));
	g_assert_false(trusts("http://h/", "http://h2/"));
	g_assert_false(trusts("http://h.example/", "http://x.h.example/"));
}

/* Every possible byte of a name survives the server's decoding. */
static void test_path(void)
{
	char name[256];
	for (int i = 1; i < 256; i++)
		name[i - 1] = (char)i;
	name[255] = '\0';
	g_autoptr(GString) out = g_string_new(NULL);
	url_append_path(out, name);
	for (gsize i = 0; i < out->len; i++)
		g_assert_true(g_ascii_isalnum(out->str[i]) ||
		              strchr("-._~%/", out->str[i]) != NULL);
	GString *back = g_string_new(NULL);
	for (const char *s = out->str; *s != '\0'; s++) {
		if (*s == '%') {
			g_string_append_c(back, (char)(g_ascii_xdigit_value(s[1]) << 4 |
			                               g_ascii_xdigit_value(s[2])));
			s += 2;
		} else {
			g_string_append_c(back, *s);
		}
	}
	g_assert_cmpmem(back->str, back->len, name, 255);
	g_string_free(back, TRUE);
}

static struct reply head(const char *text)
{
	struct reply r = {0};
	g_auto(GStrv) lines = g_strsplit(text, "|", -1);
	for (char **line = lines; *line != NULL; line++) {
		g_autofree char *whole = g_strconcat(*line, "\r\n", NULL);
		g_assert_cmpint(reply_feed(&r, whole, strlen(whole)), ==, **line == '\0');
	}
	return r;
}

static void check_range(const char *value, enum reply_range range)
{
	g_autofree char *text =
	        g_strconcat("HTTP/1.1 206 Partial|Content-Range: ", value, "|", NULL);
	struct reply r = head(text);
	g_assert_cmpint(r.range, ==, range);
	reply_clear(&r);
}

static void test_reply(void)
{
	struct reply r =
	        head("HTTP/1.1 103 Early|ETag: \"old\"||HTTP/2 206|content-length: 12 |"
	             "CONTENT-RANGE:bytes 3-14/99|etag: W/\"x\"|content-type: Text/HTML ;charset=x|"
	             "Retry-After: 7|");
	g_assert_cmpuint(r.status, ==, 206);
	g_assert_cmpint(r.length, ==, 12);
	g_assert_cmpint(r.range, ==, RANGE_GOOD);
	g_assert_cmpuint(r.first, ==, 3);
	g_assert_cmpuint(r.last, ==, 14);
	g_assert_cmpuint(r.total, ==, 99);
	g_assert_cmpuint(reply_retry_after(&r, 0), ==, 7);
	g_assert_cmpstr(r.etag, ==, "W/\"x\"");
	g_assert_true(reply_type_is(&r, "text/html"));
	g_assert_false(reply_type_is(&r, "text/htm"));
	g_assert_false(reply_is_coded(&r));
	uint64_t version = reply_version(&r, 99, true);
	g_assert_cmpuint(version, !=, reply_version(&r, 98, true));
	reply_clear(&r);

	r = head("HTTP/1.1 200 OK|Content-Encoding: gzip|Content-Length: -1|Retry-After: Fri, 31 "
	         "Dec|");
	g_assert_true(reply_is_coded(&r));
	g_assert_cmpint(r.length, ==, -1);
	g_assert_cmpuint(reply_retry_after(&r, 0), ==, 0);
	reply_clear(&r);

	check_range("bytes 0-0/1", RANGE_GOOD);
	check_range("bytes 0-0/*", RANGE_GOOD);
	check_range("bytes */7", RANGE_UNSATISFIED);
	check_range("bytes 5-4/9", RANGE_BAD);
	check_range("bytes 0-9/9", RANGE_BAD);
	check_range("bytes 0-9", RANGE_BAD);
	check_range("bytes -9/10", RANGE_BAD);
	check_range("bytes 0-9/10 ", RANGE_GOOD);
	check_range("bytes 0-9/10x", RANGE_BAD);
	check_range("items 0-9/10", RANGE_BAD);
	check_range("bytes 0-99999999999999999999/*", RANGE_BAD);
	check_range("bytes 0-1/4|Content-Range: bytes 2-3/4", RANGE_BAD);
}

static void check_mtime(const char *date, int64_t seconds)
{
	g_autofree char *text = g_strconcat("HTTP/1.1 200 OK|Last-Modified: ", date, "|", NULL);
	struct reply r = head(text);
	int64_t ns = -1;
	g_assert_cmpint(reply_mtime(&r, &ns), ==, seconds >= 0);
	g_assert_cmpint(ns, ==, seconds >= 0 ? seconds * 1000000000 : -1);
	reply_clear(&r);
}

static void test_mtime(void)
{
	check_mtime("Sun, 06 Nov 1994 08:49:37 GMT", 784111777);
	check_mtime("Thu, 01 Jan 1970 00:00:00 GMT", 0);
	check_mtime("Thu, 29 Feb 2024 23:59:59 GMT", 1709251199);
	check_mtime("Fri, 01 Mar 2024 00:00:00 GMT", 1709251200);
	check_mtime("Tue, 31 Dec 2030 12:00:00 GMT", 1924948800);
	check_mtime("Sunday, 06-Nov-94 08:49:37 GMT", -1);
	check_mtime("Sun, 06 Nov 1994 08:49:37 CET", -1);
	check_mtime("Sun, 00 Nov 1994 08:49:37 GMT", -1);
	check_mtime("Sun, 06 Nov 1994 24:49:37 GMT", -1);
	check_mtime("Sun, 06 Nov 1994 08:49:3", -1);
	check_mtime("", -1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/url/normalise", test_normalise);
	g_test_add_func("/url/refused", test_refused);
	g_test_add_func("/url/credentials", test_credentials);
	g_test_add_func("/url/resolve", test_resolve);
	g_test_add_func("/url/trust", test_trust);
	g_test_add_func("/url/path", test_path);
	g_test_add_func("/reply/head", test_reply);
	g_test_add_func("/reply/mtime", test_mtime);
	return g_test_run();
}
