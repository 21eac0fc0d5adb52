/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Pages made for the test: cases that no sample has, and hostile ones. */
#include "tests/unit/index_made.h"

static void test_links(void)
{
	struct {
		const char *href, *names; /* "" = no entry */
	} cases[] = {
	        {"plain", "|plain"},
	        {"plain/", "|plain/"},
	        {"./plain", "|plain"},
	        {"./a:b", "|a:b"},
	        {" padded ", "|padded"},
	        {"a%2Fb", ""},
	        {"%2e%2e", ""},
	        {"%2E%2E/", ""},
	        {"..%2f..%2fetc", ""},
	        {"%2e", ""},
	        {"a%00b", ""},
	        {"a%0Ab", ""},
	        {"a%7fb", ""},
	        {"a%1bb", ""},
	        {"%", "|%"},
	        {"%4", "|%4"},
	        {"%zz%41", "|%zzA"},
	        {"a%2541", "|a%41"},
	        {"a+b", "|a+b"},
	        {"a\\b", "|a\\b"},
	        {"%F0%9F%90%A7", "|\xf0\x9f\x90\xa7"},
	        {"raw\xc3\xa9", "|raw\xc3\xa9"},
	        {"raw\xff", "|raw\xff"},
	        {"caf&eacute;", "|caf\xc3\xa9"},
	        {"a&amp;amp;b", "|a&amp;b"},
	        {"q&#34;uote", "|q\"uote"},
	        {"", ""},
	        {"#top", ""},
	        {"?C=M;O=A", ""},
	        {"plain?raw=1", ""},
	        {"plain#part", ""},
	        {"..", ""},
	        {"../", ""},
	        {"../other", ""},
	        {"../../../../etc/passwd", ""},
	        {"sub/../../x", ""},
	        {"sub/deep", ""},
	        {"sub//", ""},
	        {".", ""},
	        {"./", ""},
	        {"/", ""},
	        {"/tree", ""},
	        {"/tree/", ""},
	        {"/tree/abs", "|abs"},
	        {"/tr%65e/abs", "|abs"},
	        {"/tree/abs/", "|abs/"},
	        {"/tree/abs/deep", ""},
	        {"/tree2/abs", ""},
	        {"/tree/../etc", ""},
	        {"/tree//abs", ""},
	        {"/etc/passwd", ""},
	        {"//127.0.0.1:8000/tree/net", "|net"},
	        {"//127.0.0.1/tree/net", ""},
	        {"//evil.example/tree/net", ""},
	        {"//evil.example@127.0.0.1:8000/tree/net", "|net"},
	        {"//127.0.0.1:8000@evil.example/tree/net", ""},
	        {"//", ""},
	        {"///", ""},
	        {BASE "full", "|full"},
	        {"HTTP://127.0.0.1:8000/tree/full", "|full"},
	        {"https://127.0.0.1:8000/tree/full", ""},
	        {"http://evil.example/tree/full", ""},
	        {"http:full", ""},
	        {"javascript:alert(1)", ""},
	        {"mailto:a@b", ""},
	        {"file:///etc/passwd", ""},
	        {"data:text/html,x", ""},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *page = g_strdup_printf(
		        PAGE("<pre><a href=\"z\">z</a>\n<a href=\"%s\">x</a>\n</pre>"),
		        cases[i].href);
		g_autofree char *names = names_of("text/html", BASE, page);
		g_assert_true(g_str_has_prefix(names, "|z"));
		g_assert_cmpstr(names + 2, ==, cases[i].names);
	}
	for (unsigned length = 255; length <= 256; length++) {
		g_autofree char *name = g_strnfill(length, 'x');
		g_autofree char *page =
		        g_strdup_printf(PAGE("<ul><a href=\"%s\">x</a></ul>"), name);
		g_autofree char *names = names_of("text/html", BASE, page);
		g_assert_cmpuint(strlen(names), ==, length == 255 ? 256 : 0);
	}
}

static void test_duplicates_and_base(void)
{
	g_autofree char *names = names_of(
	        "text/html", BASE, PAGE(LINK("b") LINK("a") LINK("b/") LINK("a") LINK("%62")));
	g_assert_cmpstr(names, ==, "|b|a");
	g_autofree char *root =
	        names_of("text/html", "http://h", PAGE(LINK("/a") LINK("b") LINK("/c/") LINK("/")));
	g_assert_cmpstr(root, ==, "|a|b|c/");
	/* the page's own URL may name a file, a query, a user */
	g_autofree char *named = names_of("text/html", "http://u:p@h/x%20y/index.php?a=/b/#c",
	                                  PAGE(LINK("a") LINK("/x y/b") LINK("http://h/x%20y/c")));
	g_assert_cmpstr(named, ==, "|a|b|c");
}

/* A page with times has one for each file: links in the text around it are no entries. */
static void test_prose(void)
{
	g_autofree char *names =
	        names_of("text/html", BASE,
	                 PAGE("<p>see <a href=\"README.html\">the readme</a></p>"
	                      "<pre><a href=\"../\">../</a>\n"
	                      "<a href=\"d/\">d/</a>   01-Jan-2024 00:00   -\n"
	                      "<a href=\"f\">f</a>    01-Jan-2024 00:00   12\n</pre>"
	                      "<p><a href=\"contact.html\">contact</a></p>"));
	g_assert_cmpstr(names, ==, "|d/|f");

	/* Apache's IconsAreLinks: two links, one row */
	g_autoptr(GError) error = NULL;
	struct listing *l = parse_text("text/html",
	                               PAGE("<pre><a href=\"f\"><img src=\"i\"></a> <a "
	                                    "href=\"f\">f</a> 2024-01-01 00:00 5\n"),
	                               &error);
	g_assert_no_error(error);
	g_assert_cmpuint(listing_count(l), ==, 1);
	g_assert_cmpuint(listing_at(l, 0)->size, ==, 5);
	g_assert_cmpuint(listing_at(l, 0)->flags, ==, LISTING_SIZE_EXACT | LISTING_MTIME_KNOWN);
	listing_unref(l);
}

static void test_rows(void)
{
	struct {
		const char *row;
		int64_t seconds; /* -1 = none */
		int64_t size;    /* -1 = none */
		bool exact;
	} cases[] = {
	        {"01-Jan-2024 00:00 12", 1704067200, 12, true},
	        {"2024-01-01 00:00  1.5K", 1704067200, 1536, false},
	        {"2024-01-01 00:00:01 4.0M  a description 99", 1704067201, 4 << 20, false},
	        {"2024-01-01 00:00 7 K files", 1704067200, 7, true},
	        {"2024-01-01 00:00 -  55 words", 1704067200, -1, false},
	        {"2024-01-01T01:00:00+01:00 3 B", 1704067200, 3, true},
	        {"2024-Jan-01 00:00:00 0.1K", 1704067200, 102, false},
	        {"Mon, 01 Jan 2024 00:00:00 GMT 2 bytes", 1704067200, 2, true},
	        {"1.2 MiB 2024-01-01 00:00", 1704067200, 1258291, false},
	        {"1234 2024-01-01 00:00", 1704067200, 1234, true},
	        {"1.5 2024-01-01 00:00", 1704067200, -1, false},
	        {"1234", -1, -1, false},
	        {"99-Jan-2024 00:00 12", -1, -1, false},
	        {"2024-13-01 00:00 12", -1, -1, false},
	        {"2024-01-01 00:00 99999999999999999999999", 1704067200, -1, false},
	        {"2024-01-01 00:00 9000000000G", 1704067200, -1, false},
	        {"2024-01-01 00:00 12-33", 1704067200, -1, false},
	        {"9999-01-01 00:00 12", -1, -1, false},
	        {"<td>5.0&nbsp;GiB <td>2024-01-01&nbsp;00:00", 1704067200, INT64_C(5) << 30, false},
	        {"<td data-order=\"5368709127\">5.0 GiB<td>2024-01-01 00:00", 1704067200,
	         5368709127, true},
	        {"<td data-order=\"1704067200\">2024-01-01 00:00<td data-order=\"9\">9", 1704067200,
	         9, true},
	        {"<td data-order=\"12\">5.0 GiB<td>2024-01-01 00:00", 1704067200, INT64_C(5) << 30,
	         false},
	        {"<td><time datetime=\"2024-01-01T00:00:00Z\">yesterday, 5</time>", 1704067200, -1,
	         false},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *page = g_strdup_printf(
		        PAGE("<table><tr><td><a href=\"f\">f</a> %s</tr></table>"), cases[i].row);
		g_autoptr(GError) error = NULL;
		struct listing *l = parse_text("text/html", page, &error);
		g_assert_no_error(error);
		g_assert_cmpuint(listing_count(l), ==, 1);
		const struct listing_entry *e = listing_at(l, 0);
		g_test_message("%s", cases[i].row);
		bool dated = (e->flags & LISTING_MTIME_KNOWN) != 0;
		g_assert_cmpint(dated ? e->mtime_ns / SECOND : -1, ==, cases[i].seconds);
		g_assert_cmpint(e->size, ==, MAX(cases[i].size, 0));
		g_assert_cmpint((e->flags & LISTING_SIZE_EXACT) != 0, ==, cases[i].exact);
		listing_unref(l);
	}
}

static void refused(const char *type, const char *page, const char *why)
{
	g_autoptr(GError) error = NULL;
	struct listing *l = parse_text(type, page, &error);
	g_assert_null(l);
	/* after a cut page the next attempt may get more */
	int code = strcmp(why, "truncated") == 0 ? FETCH_SERVER : FETCH_PROTOCOL;
	g_assert_error(error, FETCH_ERROR, code);
	g_assert_nonnull(strstr(error->message, why));
}

static void test_not_an_index(void)
{
	const char *why = "not a directory index";
	refused("text/html", "", why);
	refused("text/html", "just text", why);
	refused("text/html", "<html><title>Shop</title><a href=\"cart\">cart</a></html>", why);
	refused("text/html", "<html><a href=\"../other\">up</a><a href=\"x\">x</a></html>", why);
	refused(NULL,
	        "\x7f"
	        "ELF\2\1\1",
	        why);
	refused("application/json", "{\"error\": \"no\"}", why);
	refused("application/json", "[1, 2]", why);
	refused("application/json", "[{\"id\": 1}]", why);
	refused("application/json", "[{\"name\": \"x\"}]", why);
	refused("application/json", "", "truncated");
	refused("application/json", "[{\"name\": \"x\", \"type\": \"file\"}", "truncated");
	refused("application/json", "[{\"name\": \"x\", \"type\": \"file\"} {}]", why);
	refused("application/json", "[{\"name\": \"x\", \"type\": \"file\"},]", why);
	refused("application/json", "[{\"name\": \"x\", \"type\": }]", "malformed");
	refused("application/json", "[] []", why);
	refused("application/json", "[{\"name\": \"\\u12g4\"}]", "malformed");
	refused("application/json", "[{\"name\": \"\\q\"}]", "malformed");
	g_autofree char *deep = g_strnfill(100, '{');
	g_autofree char *nested = g_strconcat("[", deep, NULL);
	refused("application/json", nested, "too deep");
	g_autofree char *wide = g_strnfill(70000, 'x');
	g_autofree char *longname = g_strconcat("[{\"name\":\"", wide, NULL);
	refused("application/json", longname, "too long");
	g_autoptr(GString) tags = g_string_new("<title>Index of /</title>");
	for (unsigned i = 0; i < 1000; i++)
		g_string_append(tags, "<b><div>");
	refused("text/html", tags->str, "nested too deep");
	/* each of these would keep the parser busy for more than a minute, or for ever */
	g_string_assign(tags, "<title>Index of /</title><a ");
	for (unsigned i = 0; i < 150000; i++)
		g_string_append_printf(tags, "x%u ", i);
	refused("text/html", tags->str, "too many attributes");
	g_string_assign(tags, "<title>Index of /</title>it's a <b 'c\"");
	for (unsigned i = 0; i < 150000; i++)
		g_string_append_printf(tags, "x%u\n", i);
	refused("text/html", tags->str, "too many attributes");
	g_string_assign(tags, "<title>Index of /</title><!-- ");
	for (unsigned i = 0; i < 3 << 18; i++)
		g_string_append(tags, "<--");
	refused("text/html", tags->str, "more than 1 MiB");
}

static void test_json(void)
{
	static const struct {
		const char *written, *name; /* "" = no entry */
	} cases[] = {
	        {"a", "a"},
	        {"..", ""},
	        {"x/y", ""},
	        {"", ""},
	        {"n\\u0000ul", ""},
	        {"back\\\\u0000", "back\\u0000"},
	        {"quo\\\"te}]", "quo\"te}]"},
	        {"\\u00e9", "\xc3\xa9"},
	        {"\\ud83d\\udc27", "\xf0\x9f\x90\xa7"},
	        {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
	        /* half a pair names nothing, but for bytes as Python writes them */
	        {"half\\ud83d", ""},
	        {"half\\ud83dx", ""},
	        {"half\\ud83d\\n", ""},
	        {"half\\udc27", ""},
	        {"half\\ud83d\\u0041", ""},
	        {"half\\ud83d\\ud83d\\udc27", ""},
	        {"half\\udc27\\ud83d", ""},
	        {"half\\udd80", ""},
	        {"bad\\udcff\\udcfe", "bad\xff\xfe"},
	        {"bad\\udcffx\\uDC80", "bad\xffx\x80"},
	        {"\xff\xf4\x8f", "\xff\xf4\x8f"},
	};
	g_autoptr(GString) page = g_string_new("\xef\xbb\xbf [");
	g_autoptr(GString) expected = g_string_new(NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_string_append_printf(page, "%s{\"name\": \"%s\", \"type\": \"file\"}",
		                       i > 0 ? ",\n" : "", cases[i].written);
		if (cases[i].name[0] != '\0')
			g_string_append_printf(expected, "|%s", cases[i].name);
	}
	g_string_append_c(page, ']');
	g_autofree char *names = names_of("application/json", BASE, page->str);
	g_assert_cmpstr(names, ==, expected->str);

	g_autofree char *urls =
	        names_of("application/json", BASE,
	                 "[{\"name\":\"a\",\"is_dir\":false,\"url\":\"./a%FF\"},"
	                 "{\"name\":\"b\",\"is_dir\":false,\"url\":\"http://evil.example/b\"},"
	                 "{\"name\":\"c/\",\"is_dir\":true,\"url\":\"./c/\"}]");
	g_assert_cmpstr(urls, ==, "|a\xff|c/");

	g_autoptr(GError) error = NULL;
	struct listing *l = parse_text(
	        "application/json",
	        "[{\"name\":\"a\",\"type\":\"file\",\"size\":-1},"
	        "{\"name\":\"b\",\"type\":\"file\",\"size\":1e3},"
	        "{\"name\":\"c\",\"type\":\"file\",\"size\":\"7\",\"mtime\":\"whenever\"},"
	        "{\"name\":\"d\",\"type\":\"file\",\"size\":9223372036854775807}]",
	        &error);
	g_assert_no_error(error);
	for (unsigned i = 0; i < 3; i++)
		g_assert_cmpuint(listing_at(l, i)->flags, ==, 0);
	g_assert_cmpuint(listing_at(l, 3)->size, ==, INT64_MAX);
	listing_unref(l);
}

static void test_usage(void)
{
	struct source_options options = {0};
	struct index_parser *p = index_parser_new("text/html", "relative/", &options);
	g_autoptr(GError) error = NULL;
	g_assert_false(index_parser_feed(p, "x", 1, &error));
	g_assert_error(error, FETCH_ERROR, FETCH_USAGE);
	g_clear_error(&error);
	g_assert_null(index_parser_finish(p, "", 0, NULL, "", &error));
	g_assert_error(error, FETCH_ERROR, FETCH_USAGE);
	index_parser_free(index_parser_new("application/json", BASE, &options));
	index_parser_free(NULL);
}

/* A page is parsed as it arrives, wherever it is cut. The unparsed rest is bounded, so a parser
 * that waits for the end would refuse this page. */
static void test_many(void)
{
	unsigned count = g_test_perf() ? 1000000 : 20000;
	for (unsigned json = 0; json < 2; json++) {
		g_autoptr(GString) page =
		        g_string_new(json ? "[" : "<title>Index of /tree/</title><pre>");
		for (unsigned i = 0; i < count; i++) {
			if (json)
				g_string_append_printf(
				        page,
				        "%s{ \"name\":\"file-%07u.tar.gz\", \"type\":\"file\", "
				        "\"mtime\":\"Sun, 13 Sep 2020 12:26:40 GMT\", \"size\":%u "
				        "}",
				        i > 0 ? ",\r\n" : "", i, i);
			else
				g_string_append_printf(
				        page,
				        "<a href=\"file-%07u.tar.gz\">file-%07u.tar.gz</a>"
				        "                 13-Sep-2020 12:26  %18u\r\n",
				        i, i, i);
		}
		g_string_append(page, json ? "]" : "</pre>");
		g_autoptr(GError) error = NULL;
		g_test_timer_start();
		struct listing *l = parse(json ? "application/json" : "text/html", BASE, page->str,
		                          page->len, 4099, &error);
		g_assert_no_error(error);
		g_test_message("%u entries of %s in %.2f s", count, json ? "JSON" : "HTML",
		               g_test_timer_elapsed());
		g_assert_cmpuint(listing_count(l), ==, count);
		g_assert_cmpuint(listing_at(l, count - 1)->size, ==, count - 1);
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
	g_test_add_func("/index/links", test_links);
	g_test_add_func("/index/duplicates-and-base", test_duplicates_and_base);
	g_test_add_func("/index/prose", test_prose);
	g_test_add_func("/index/rows", test_rows);
	g_test_add_func("/index/not-an-index", test_not_an_index);
	g_test_add_func("/index/json", test_json);
	g_test_add_func("/index/usage", test_usage);
	g_test_add_func("/index/many", test_many);
	return g_test_run();
}
