/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Pages of real servers (index/capture took them), against the tree they were taken of. */
#include "tests/unit/index_parse.h"
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

enum times { NO_TIMES, MINUTES, SECONDS };
enum sizes { NO_SIZES, ROUNDED, EXACT };

struct sample {
	const char *file;
	enum times times;
	enum sizes sizes;
	uint64_t exact_below; /* ROUNDED: sizes printed in bytes */
	unsigned permille;    /* ROUNDED: how far off */
	bool dotfiles;
	bool fifo, dangling, symlinks_marked;
	const char *bad_utf8; /* the invalid name, as in the page */
};

static const struct sample samples[] = {
        {"nginx.html", MINUTES, EXACT, .fifo = true, .dangling = true,
         .bad_utf8 = "bad\xff\xfeutf8"},
        {"nginx.json", SECONDS, EXACT, .bad_utf8 = "bad\xff\xfeutf8"},
        {"nginx-inexact.html", MINUTES, ROUNDED, 9999, 30, .fifo = true, .dangling = true,
         .bad_utf8 = "bad\xff\xfeutf8"},
        {"apache-list.html", NO_TIMES, NO_SIZES, .dotfiles = true, .bad_utf8 = "bad\xff\xfeutf8"},
        {"apache-pre.html", MINUTES, ROUNDED, 973, 50, .dotfiles = true,
         .bad_utf8 = "bad\xff\xfeutf8"},
        {"apache-table.html", MINUTES, ROUNDED, 973, 50, .dotfiles = true,
         .bad_utf8 = "bad\xff\xfeutf8"},
        {"apache-icons.html", MINUTES, ROUNDED, 973, 50, .dotfiles = true,
         .bad_utf8 = "bad\xff\xfeutf8"},
        {"lighttpd.html", SECONDS, ROUNDED, 0, 110, .fifo = true, .bad_utf8 = "bad\xff\xfeutf8"},
        {"caddy.html", SECONDS, EXACT, .dotfiles = true, .fifo = true, .dangling = true,
         .symlinks_marked = true, .bad_utf8 = "bad\xff\xfeutf8"},
        {"caddy.json", SECONDS, EXACT, .dotfiles = true, .fifo = true, .dangling = true,
         .symlinks_marked = true, .bad_utf8 = "bad\xff\xfeutf8"},
        {"python.html", NO_TIMES, NO_SIZES, .dotfiles = true, .fifo = true, .dangling = true,
         .bad_utf8 = "bad\xed\xb3\xbf\xed\xb3\xbeutf8"},
};

static const char *const plain_files[] = {
        "with space.txt",
        "100%.txt",
        "a%20b",
        "hash#tag",
        "quest?ion",
        "~tilde",
        "amp&amp;ersand & co",
        "less<than>.html",
        "double\"quote",
        "single'quote",
        "back\\slash",
        "ünïcødé-日本語.txt",
        "-dash",
        "a:b",
        "http:",
        "plus+sign;semi=eq,comma",
        "star*[brk]{c}|^`$!@()",
        "long-name-abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij.tar.gz",
        "?C=N;O=D",
        " lead",
        "trail ",
        "Parent Directory",
        "12-Dec-2020 10:00  55",
};

static const struct {
	const char *name;
	uint64_t size;
} sized_files[] = {
        {"size0", 0},          {"size1", 1},
        {"size1023", 1023},    {"size1024", 1024},
        {"size1536", 1536},    {"size999999", 999999},
        {"size10M", 10 << 20}, {"size5G", (UINT64_C(5) << 30) + 7},
};

static const char *const plain_dirs[] = {"emptydir", "dir with space", "d%dir", "dir:colon", "sub"};

static char *sample_read(const char *file, size_t *length)
{
	const char *folder = g_getenv("TEST_INDEX_SAMPLES");
	g_autofree char *path =
	        g_build_filename(folder != NULL ? folder : TEST_INDEX_SAMPLES, file, NULL);
	g_autoptr(GError) error = NULL;
	char *data = NULL;
	g_file_get_contents(path, &data, length, &error);
	g_assert_no_error(error);
	return data;
}

static const char *type_of(const char *file)
{
	return g_str_has_suffix(file, ".json") ? "application/json" : "text/html; charset=utf-8";
}

static void time_check(const struct sample *s, const struct listing_entry *e, int64_t seconds)
{
	if (s->times == NO_TIMES) {
		g_assert_cmpuint(e->flags & LISTING_MTIME_KNOWN, ==, 0);
		return;
	}
	g_assert_cmpuint(e->flags & LISTING_MTIME_KNOWN, !=, 0);
	if (s->times == MINUTES)
		seconds -= seconds % 60;
	g_assert_cmpint(e->mtime_ns, ==, seconds * SECOND);
}

static void size_check(const struct sample *s, const struct listing_entry *e, uint64_t size)
{
	bool exact = s->sizes == EXACT || (s->sizes == ROUNDED && size < s->exact_below);
	g_assert_cmpuint(e->flags & LISTING_SIZE_EXACT, ==, exact ? LISTING_SIZE_EXACT : 0);
	if (exact) {
		g_assert_cmpuint(e->size, ==, size);
	} else if (s->sizes == ROUNDED) {
		uint64_t off = e->size > size ? e->size - size : size - e->size;
		g_assert_cmpuint(off, <=, MAX(size * s->permille / 1000, 103));
	}
}

static const struct listing_entry *file_check(const struct sample *s, const struct listing *l,
                                              const char *name, uint64_t size)
{
	uint32_t index = 0;
	if (!listing_find(l, name, &index))
		g_error("%s: \"%s\" is missing", s->file, name);
	const struct listing_entry *e = listing_at(l, index);
	g_assert_cmpuint(e->mode, ==, S_IFREG | 0640);
	g_assert_cmpuint(e->uid, ==, 11);
	g_assert_cmpuint(e->gid, ==, 12);
	g_assert_cmpuint(e->nlink, ==, 1);
	g_autofree char *path = g_strconcat("some/dir/", name, NULL);
	g_assert_cmpuint(e->ino, ==, XXH3_64bits(path, strlen(path)));
	size_check(s, e, size);
	return e;
}

/* capture makes the time of a file out of the length of its name */
static void made_file_check(const struct sample *s, const struct listing *l, const char *name,
                            uint64_t size)
{
	time_check(s, file_check(s, l, name, size), 1700000000 + (int64_t)strlen(name) * 86400);
}

static const struct listing_entry *dir_check(const struct listing *l, const char *name)
{
	uint32_t index = 0;
	if (!listing_find(l, name, &index))
		g_error("directory \"%s\" is missing", name);
	const struct listing_entry *e = listing_at(l, index);
	g_assert_cmpuint(e->mode, ==, S_IFDIR | 0755);
	return e;
}

static unsigned links_check(const struct sample *s, const struct listing *l)
{
	uint32_t index;
	g_assert_true(listing_find(l, "link-to-file", &index));
	const struct listing_entry *e = listing_at(l, index);
	g_assert_true(S_ISREG(e->mode));
	if (s->symlinks_marked)
		g_assert_cmpuint(e->flags, ==, 0);
	else
		size_check(s, e, 1024);
	dir_check(l, "link-to-dir");
	g_assert_cmpint(listing_find(l, "fifo", &index), ==, s->fifo);
	g_assert_cmpint(listing_find(l, "dangling", &index), ==, s->dangling);
	return 2 + s->fifo + s->dangling;
}

static void sample_check(const struct sample *s, const struct listing *l)
{
	unsigned expected = 0;
	g_assert_true(g_str_has_prefix(listing_validator(l), "\"etag\""));
	g_assert_cmpint(listing_checked(l), ==, 123);
	for (unsigned i = 0; i < G_N_ELEMENTS(plain_files); i++, expected++)
		made_file_check(s, l, plain_files[i], 1);
	for (unsigned i = 0; i < G_N_ELEMENTS(sized_files); i++, expected++)
		made_file_check(s, l, sized_files[i].name, sized_files[i].size);
	g_autofree char *longest = g_strnfill(255, 'n');
	made_file_check(s, l, longest, 1);
	g_autoptr(GString) accents = g_string_new("e");
	while (accents->len < 255)
		g_string_append(accents, "é");
	made_file_check(s, l, accents->str, 1);
	expected += 2;
	for (unsigned i = 0; i < G_N_ELEMENTS(plain_dirs); i++, expected++)
		time_check(s, dir_check(l, plain_dirs[i]), 1600000000);
	if (s->dotfiles) {
		made_file_check(s, l, "..double", 1);
		made_file_check(s, l, "...", 1);
		made_file_check(s, l, ".hidden", 1);
		dir_check(l, "...dots");
		expected += 4;
	}
	if (s->bad_utf8 != NULL) {
		const struct listing_entry *e = file_check(s, l, s->bad_utf8, 1);
		time_check(s, e, 1700000000 + 9 * 86400);
		expected++;
	}
	expected += links_check(s, l);
	g_assert_cmpuint(listing_count(l), ==, expected); /* and no others */
}

static void test_sample(gconstpointer data)
{
	const struct sample *s = data;
	size_t length = 0;
	g_autofree char *page = sample_read(s->file, &length);
	static const size_t pieces[] = {1, 7, 4096, 1 << 20};
	for (unsigned i = 0; i < G_N_ELEMENTS(pieces); i++) {
		g_autoptr(GError) error = NULL;
		g_test_expect_message("lacunafs", G_LOG_LEVEL_MESSAGE, "*not entries*");
		struct listing *l = parse(i % 2 == 0 ? type_of(s->file) : NULL, BASE, page, length,
		                          pieces[i], &error);
		g_assert_no_error(error);
		g_test_assert_expected_messages();
		sample_check(s, l);
		listing_unref(l);
	}
}

static void test_empty(gconstpointer data)
{
	size_t length = 0;
	g_autofree char *page = sample_read(data, &length);
	g_autoptr(GError) error = NULL;
	struct listing *l =
	        parse(type_of(data), "http://127.0.0.1/tree/emptydir/", page, length, 4096, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(listing_count(l), ==, 0);
	listing_unref(l);
}

static void log_drop(const char *domain, GLogLevelFlags level, const char *message, gpointer user)
{
}

/* A page cut anywhere is complete or an error: with only the end of the connection to mark its end,
 * and behind a proxy that frames the cut page. */
static void test_cut(gconstpointer data)
{
	size_t length = 0;
	g_autofree char *page = sample_read(data, &length);
	g_autoptr(GError) none = NULL;
	guint handler = g_log_set_handler("lacunafs", G_LOG_LEVEL_MESSAGE, log_drop, NULL);
	struct listing *whole = parse_body(type_of(data), BASE, page, length, 4096, false, &none);
	g_assert_no_error(none);
	const char *end = g_strrstr_len(page, length, "</html");
	size_t last = end != NULL ? (size_t)(end - page) : length - 1;
	for (size_t cut = 0; cut < last; cut += cut + 600 < last ? 97 : 1) {
		g_autoptr(GError) error = NULL;
		bool delimited = cut % 2 == 1;
		struct listing *l =
		        parse_body(type_of(data), BASE, page, cut, 4096, delimited, &error);
		if (l != NULL && listing_count(l) != listing_count(whole))
			g_error("%s, cut at %zu: %u names of %u", (const char *)data, cut,
			        listing_count(l), listing_count(whole));
		bool body = g_strstr_len(page, cut, "</body>") != NULL; /* accepted like </html> */
		if (l != NULL && !delimited && !body)
			g_error("%s, cut at %zu, is taken for whole", (const char *)data, cut);
		bool started = g_strstr_len(page, cut, "</pre>") ||
		               g_strstr_len(page, cut, "</ul>") ||
		               g_strstr_len(page, cut, "</table>");
		if (l != NULL && delimited && !body && !started)
			g_error("%s, cut at %zu before anything ends, is a directory",
			        (const char *)data, cut);
		listing_unref(l);
	}
	listing_unref(whole);
	g_log_remove_handler("lacunafs", handler);
}

int main(int argc, char **argv)
{
	static const char *const empties[] = {
	        "nginx-empty.html",        "nginx-empty.json",      "nginx-inexact-empty.html",
	        "apache-list-empty.html",  "apache-pre-empty.html", "apache-table-empty.html",
	        "apache-icons-empty.html", "lighttpd-empty.html",   "caddy-empty.html",
	        "caddy-empty.json",        "python-empty.html",
	};
	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(samples); i++) {
		g_autofree char *path = g_strconcat("/index/sample/", samples[i].file, NULL);
		g_test_add_data_func(path, &samples[i], test_sample);
		g_autofree char *cut = g_strconcat("/index/cut/", samples[i].file, NULL);
		g_test_add_data_func(cut, samples[i].file, test_cut);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(empties); i++) {
		g_autofree char *path = g_strconcat("/index/empty/", empties[i], NULL);
		g_test_add_data_func(path, empties[i], test_empty);
		g_autofree char *cut = g_strconcat("/index/cut/", empties[i], NULL);
		g_test_add_data_func(cut, empties[i], test_cut);
	}
	return g_test_run();
}
