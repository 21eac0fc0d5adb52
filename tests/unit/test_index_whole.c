/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Incomplete pages, and pages whose links lead elsewhere, are no empty directories. */
#include "tests/unit/index_made.h"

/* Relative links start at <base>: where that is another directory, they are no children. */
static void test_base_moved(void)
{
	static const struct {
		const char *base, *href, *names; /* NULL: an error */
	} cases[] = {
	        {"http://127.0.0.1:8000/tree/", "a", "|a"},
	        {"//127.0.0.1:8000/tree/", "a", "|a"},
	        {"/tree/", "./a", "|a"},
	        {"/tr%65e/index.html", "a", "|a"},
	        {"./", "a", "|a"},
	        {"/", "tree/a", "|a"},
	        {"..", "tree/a", "|a"},
	        {"../..", "tree/a/", "|a/"},
	        {"/other/", "../tree/a", "|a"},
	        {"/other/", "/tree/a", "|a"},
	        {"/other/", "a", NULL},
	        {"/", "a", NULL},
	        {"sub/", "a", NULL},
	        {"http://evil.example/tree/", "a", NULL},
	        {"https://127.0.0.1:8000/tree/", "a", NULL},
	        {"mailto:x", "a", NULL},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *page = g_strdup_printf(
		        "<html><base href=\"%s\"><base href=\"/third/\"><title>Index of /tree/"
		        "</title><pre><a href=\"../\">../</a>\n<a href=\"%s\">x</a>\n</pre></html>",
		        cases[i].base, cases[i].href);
		g_autoptr(GError) error = NULL;
		g_test_message("%s %s", cases[i].base, cases[i].href);
		if (cases[i].names == NULL) {
			g_assert_null(parse_text("text/html", page, &error));
			g_assert_error(error, FETCH_ERROR, FETCH_PROTOCOL);
			g_assert_nonnull(strstr(error->message, "link outside"));
			continue;
		}
		g_autofree char *names = names_of("text/html", BASE, page);
		g_assert_cmpstr(names, ==, cases[i].names);
	}
}

/* A <base> too long for a URL is treated as another directory, and not joined to every link. */
static void test_base_long(void)
{
	g_autoptr(GString) base = g_string_new("/"), link = g_string_new("tree/a");
	for (unsigned i = 0; i < 5000; i++) {
		g_string_append(base, "d/");
		g_string_prepend(link, "../");
	}
	g_autofree char *page = g_strdup_printf("<html><base href=\"%s\"><title>Index of "
	                                        "/tree/</title><pre><a href=\"../\">../</a>\n"
	                                        "<a href=\"%s\">x</a>\n</pre></html>",
	                                        base->str, link->str);
	g_autoptr(GError) error = NULL;
	g_assert_null(parse_text("text/html", page, &error));
	g_assert_error(error, FETCH_ERROR, FETCH_PROTOCOL);
	g_assert_nonnull(strstr(error->message, "link outside"));
}

/* An index whose rows all lead elsewhere is no empty directory; links around the rows of an empty
 * one are no rows. */
static void test_elsewhere(void)
{
#define DATED(href) "<a href=\"" href "\">x</a>  01-Jan-2024 00:00  12\n"
	static const char *const lost[] = {
	        PAGE("<pre><a href=\"../\">../</a>\n" DATED("/a") DATED("/b") "</pre>"),
	        PAGE("<pre>" DATED("https://127.0.0.1:8000/tree/a") "</pre>"),
	        PAGE("<pre>" DATED("http://127.0.0.1:1/tree/a") "</pre>"),
	        PAGE("<pre>" DATED("http://cdn.example/tree/a") "</pre>"),
	        PAGE("<ul><li>" LINK("/prefix/tree/a") "</ul>"),
	        PAGE("<table><tr><td>" LINK("/prefix/tree/a") "<td>2024-01-01 00:00</table>"),
	};
	static const char *const empty[] = {
	        PAGE("<pre><a href=\"/prefix/\">Parent Directory</a>   -\n</pre>"),
	        PAGE("<ul><li><a href=\"/prefix/\"> Parent Directory</a></li></ul>"),
	        PAGE("<pre></pre><a href=\"mailto:a@b\">us</a> <a href=\"/about\">about</a>"),
	        PAGE("<ul><li>" LINK("https://nginx.example/") "</ul>"),
	        PAGE("<ul><li>" LINK("/") LINK("/tree") "</ul>"),
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(lost); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_null(parse_text("text/html", lost[i], &error));
		g_assert_error(error, FETCH_ERROR, FETCH_PROTOCOL);
		g_assert_nonnull(strstr(error->message, "link outside"));
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(empty); i++) {
		g_autofree char *names = names_of("text/html", BASE, empty[i]);
		g_assert_cmpstr(names, ==, "");
	}
	/* a link upwards, a title or the list of a heading alone make no empty directory */
	static const struct {
		const char *type, *page, *why;
	} none[] = {
	        {"text/html", "<html><h1>Sorry</h1><a href=\"../\">back</a></html>", "not a dir"},
	        {"text/html", PAGE("please log in"), "not a directory"},
	        {"text/html", PAGE("<a href=\"../\">../</a>"), "not a directory"},
	        {"text/html", "<html><title>Index of /</title><ul><li>read me</ul>", "truncated"},
	        {"application/json",
	         "[{\"name\":\"a\",\"is_dir\":false,\"url\":\"/prefix/tree/a\"}]", "link outside"},
	        {"application/json", "null", "not a directory index"},
	        {"application/json", "[null]", "not a directory index"},
	        {"application/json", "{}", "not a directory index"},
	        {"application/json", "[", "truncated"},
	        {"text/html", "[]", "not a directory index"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(none); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_null(parse_text(none[i].type, none[i].page, &error));
		g_test_message("%s", none[i].page);
		g_assert_nonnull(strstr(error->message, none[i].why));
	}
	g_autofree char *some =
	        names_of("text/html", BASE, PAGE("<pre>" DATED("/a") DATED("b") "</pre>"));
	g_assert_cmpstr(some, ==, "|b");
}

/* Text that ends a page, and text that does not. */
static void test_end(void)
{
	static const struct {
		const char *page;
		bool closed, delimited; /* is complete: with only the connection's end to mark it,
		                           and otherwise */
	} cases[] = {
	        {"<title>Index of /</title><a href=a>a</a>", false, true},
	        {"<title>Index of /</title><pre><a href=a>a</a>", false, false},
	        {"<title>Index of /</title><pre><a href=a>a</a></pre>", true, true},
	        {"<title>Index of /</title><pre><a href=a>a</a></pr", false, false},
	        {"<HTML><title>Index of /</title><PRE><a href=a>a</a></PRE>", false, true},
	        {"<HTML><title>Index of /</title><PRE><a href=a>a</a></PRE></HTML>", true, true},
	        {"<html><title>Index of /</title><pre><a href=a>a</a></pre></html >\n", true, true},
	        {"<html><title>Index of /</title><a href=a>a</a>", false, false},
	        {"<body><title>Index of /</title><a href=it's>a</a></body>", true, true},
	        {"<html><title>Index of /</title>", false, false},
	        {"<title>Index of /</title><b>nothing</b>", false, false},
	        {"<title>Index of /</title><pre></pre>", true, true},
	        {"<html><h1>Index of /</h1>readme</html><ul><li><a href=a>a</a>", false, false},
	        {"<title>Index of /</title><ul><li><a href=a>a</a></ul><table><a href=b>b</a>",
	         false, false},
	        {"<title>Index of /</title><ul><ul></ul><a href=a>a</a>", false, false},
	};
	for (unsigned i = 0; i < 2 * G_N_ELEMENTS(cases); i++) {
		const char *page = cases[i / 2].page;
		g_autoptr(GError) error = NULL;
		struct listing *l =
		        parse_body("text/html", BASE, page, strlen(page), 5, i % 2 == 1, &error);
		g_test_message("%s", page);
		g_assert_cmpint(l != NULL, ==,
		                i % 2 == 1 ? cases[i / 2].delimited : cases[i / 2].closed);
		if (l == NULL) {
			g_assert_error(error, FETCH_ERROR, FETCH_SERVER);
			g_assert_nonnull(strstr(error->message, "truncated"));
		}
		listing_unref(l);
	}
}

/* Times without a zone are in -o index_timezone; others in their own. */
static void test_timezone(void)
{
	static const struct {
		const char *zone, *shown;
		int64_t seconds;
	} cases[] = {
	        {NULL, "01-Jul-2024 12:00", 1719835200},
	        {"UTC", "01-Jul-2024 12:00", 1719835200},
	        {"+09:00", "01-Jul-2024 12:00", 1719835200 - 9 * 3600},
	        {"-03:30", "2024-07-01 12:00", 1719835200 + 12600},
	        {"Europe/Berlin", "01-Jul-2024 12:00", 1719835200 - 7200},
	        {"Europe/Berlin", "01-Jan-2024 12:00", 1704110400 - 3600},
	        {"Europe/Berlin", "27-Oct-2024 02:30", 1729996200 - 3600}, /* twice */
	        {"Europe/Berlin", "2024-07-01T12:00:00Z", 1719835200},
	        {"Europe/Berlin", "2024-07-01T12:00:00+01:00", 1719835200 - 3600},
	        {"Europe/Berlin", "Mon, 01 Jul 2024 12:00:00 GMT", 1719835200},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *page =
		        g_strdup_printf(PAGE("<pre><a href=a>a</a> %s 5\n</pre>"), cases[i].shown);
		struct source_options options = {.index_timezone = (char *)cases[i].zone};
		struct index_parser *p = index_parser_new("text/html", BASE, &options);
		g_autoptr(GError) error = NULL;
		g_assert_true(index_parser_feed(p, page, strlen(page), &error));
		struct listing *l = index_parser_finish(p, "", 0, NULL, "", &error);
		g_assert_no_error(error);
		g_test_message("%s %s", cases[i].zone ? cases[i].zone : "", cases[i].shown);
		g_assert_cmpint(listing_at(l, 0)->mtime_ns / SECOND, ==, cases[i].seconds);
		listing_unref(l);
	}
}

static void log_drop(const char *domain, GLogLevelFlags level, const char *message, gpointer user)
{
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_log_set_handler("lacunafs", G_LOG_LEVEL_MESSAGE, log_drop, NULL);
	g_test_add_func("/index/base-moved", test_base_moved);
	g_test_add_func("/index/base-long", test_base_long);
	g_test_add_func("/index/elsewhere", test_elsewhere);
	g_test_add_func("/index/end", test_end);
	g_test_add_func("/index/timezone", test_timezone);
	return g_test_run();
}
