/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuse/cli/arguments.h"
#include "fuse/cli/option.h"

static struct settings *parse(const char *first, ...)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	va_list args;
	va_start(args, first);
	for (const char *word = first; word; word = va_arg(args, const char *))
		g_ptr_array_add(argv, (char *)word);
	va_end(args);
	g_autoptr(GError) error = NULL;
	struct settings *s = settings_parse((int)argv->len, (char **)argv->pdata, &error);
	g_assert_true(!s == !!error);
	if (error) {
		if (!g_error_matches(error, LOCAL_ERROR, ENOENT)) /* a source that does not exist */
			g_assert_error(error, FETCH_ERROR, FETCH_USAGE);
		g_assert_null(strchr(error->message, '\n'));
	}
	return s;
}

static struct settings *parse_option(const char *list)
{
	return parse("http://localhost/tree", "/mnt", "-o", list, NULL);
}

static void assert_refused(const char *list)
{
	struct settings *s = parse_option(list);
	if (s)
		g_error("-o %s was taken", list);
}

static void test_defaults(void)
{
	struct settings *s = parse("http://localhost/tree", "/mnt", NULL);
	g_assert_nonnull(s);
	g_assert_cmpuint(s->chunk_shift, ==, 16);
	g_assert_cmpuint(s->wait_ms, ==, 30000);
	g_assert_cmpuint(s->listing_ttl_ms, ==, 300000);
	g_assert_cmpuint(s->source_options.connect_ms, ==, 5000);
	g_assert_cmpuint(s->source_options.stall_ms, ==, 10000);
	g_assert_cmpuint(s->source_options.retries, ==, 3);
	g_assert_cmpuint(s->source_options.connections, ==, 16);
	g_assert_cmpuint(s->source_options.file_mode, ==, 0755);
	g_assert_cmpuint(s->source_options.dir_mode, ==, 0755);
	g_assert_cmpuint(s->source_options.uid, ==, getuid());
	g_assert_cmpuint(s->source_options.gid, ==, getgid());
	g_assert_false(s->source_options.no_netrc);
	g_assert_cmpuint(s->readahead_max, ==, 32 << 20);
	g_assert_cmpuint(s->prefetch_bytes, ==, 64 << 20);
	g_assert_cmpuint(s->threads, ==, 0);
	g_assert_cmpint(s->ready_fd, ==, -1);
	g_assert_true(s->passthrough && s->keeper);
	g_assert_false(s->end_epoch || s->debug || s->foreground);
	g_assert_cmpuint(s->fuse_options->len, ==, 0);
	g_assert_null(s->log);
	g_assert_null(s->source_options.token_file);
	settings_free(s);
}

static void test_units(void)
{
	struct settings *s = parse_option(
	        "chunk_size=1M,readahead=0,prefetch=2g,connect_timeout=1500ms,stall_timeout=2,"
	        "wait_timeout=3s,listing_ttl=1m,retries=0,connections=1,threads=2,"
	        "filemode=0644,dirmode=755,uid=7,gid=8,netrc=no,passthrough=no,end_epoch");
	g_assert_nonnull(s);
	g_assert_cmpuint(s->chunk_shift, ==, 20);
	g_assert_cmpuint(s->readahead_max, ==, 0);
	g_assert_cmpuint(s->prefetch_bytes, ==, UINT64_C(2) << 30);
	g_assert_cmpuint(s->source_options.connect_ms, ==, 1500);
	g_assert_cmpuint(s->source_options.stall_ms, ==, 2000);
	g_assert_cmpuint(s->wait_ms, ==, 3000);
	g_assert_cmpuint(s->listing_ttl_ms, ==, 60000);
	g_assert_cmpuint(s->source_options.retries, ==, UINT_MAX);
	g_assert_cmpuint(s->source_options.connections, ==, 1);
	g_assert_cmpuint(s->threads, ==, 2);
	g_assert_cmpuint(s->source_options.file_mode, ==, 0644);
	g_assert_cmpuint(s->source_options.dir_mode, ==, 0755);
	g_assert_cmpuint(s->source_options.uid, ==, 7);
	g_assert_cmpuint(s->source_options.gid, ==, 8);
	g_assert_true(s->source_options.no_netrc);
	g_assert_false(s->passthrough);
	g_assert_true(s->end_epoch);
	settings_free(s);
}

/* The last of the two applies. */
static void test_keeper(void)
{
	static const struct {
		const char *option;
		bool keeper;
	} rows[] = {{"ro", true},
	            {"keeper=auto", true},
	            {"keeper=no", false},
	            {"keeper=auto,keeper=no", false},
	            {"keeper=no,keeper=auto", true}};
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct settings *s = parse_option(rows[i].option);
		g_assert_nonnull(s);
		g_assert_cmpint(s->keeper, ==, rows[i].keeper);
		settings_free(s);
	}
	assert_refused("keeper=yes");
	assert_refused("keeper");
}

static void test_listing_ttl(void)
{
	static const struct {
		const char *option;
		unsigned ms;
	} cases[] = {{"listing_ttl=0", 0},
	             {"listing_ttl=0ms", 0},
	             {"listing_ttl=1ms", 1},
	             {"listing_ttl=250ms", 250},
	             {"listing_ttl=719h", 719u * 3600 * 1000},
	             {"listing_ttl=never", UINT_MAX}};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct settings *s = parse_option(cases[i].option);
		g_assert_nonnull(s);
		g_assert_cmpuint(s->listing_ttl_ms, ==, cases[i].ms);
		settings_free(s);
	}
}

static void test_refused(void)
{
	static const char *const lists[] = {"chunk_size=5000",
	                                    "chunk_size=2K",
	                                    "chunk_size=8M",
	                                    "chunk_size",
	                                    "chunk_size=",
	                                    "chunk_size=64KB",
	                                    "chunk_size=-4096",
	                                    "chunk_size= 65536",
	                                    "chunk_size=0x1000",
	                                    "readahead=2G",
	                                    "readahead=99999999999999999999",
	                                    "readahead=18446744073709551615K",
	                                    "connect_timeout=0",
	                                    "connect_timeout=soon",
	                                    "wait_timeout=1ms",
	                                    "wait_timeout=25h",
	                                    "listing_ttl=-1",
	                                    "listing_ttl=721h",
	                                    "retries=101",
	                                    "retries=3s",
	                                    "connections=0",
	                                    "filemode=9",
	                                    "filemode=0",
	                                    "filemode=10000",
	                                    "dirmode=rwx",
	                                    "uid=root",
	                                    "uid=4294967295",
	                                    "passthrough=maybe",
	                                    "passthrough=yes",
	                                    "passthrough",
	                                    "netrc",
	                                    "netrc=1",
	                                    "threads=65",
	                                    "end_epoch=1",
	                                    "subtype=x",
	                                    "fd=3",
	                                    "rootmode=40000",
	                                    "user_id=0",
	                                    "group_id=0",
	                                    "allow_other,chunk_size=1"};
	for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++)
		assert_refused(lists[i]);
}

/* 0 is none, or each time, or by the machine, as the manual says; else it is refused, and not taken
 * for a default. */
static void test_zero(void)
{
	static const char *const refused[] = {
	        "chunk_size=0",   "prefetch=0",        "connect_timeout=0", "stall_timeout=0",
	        "wait_timeout=0", "handler_timeout=0", "index_bytes=0",     "index_names=0",
	        "index_memory=0", "connections=0",     "filemode=0",        "dirmode=0"};
	for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++)
		assert_refused(refused[i]);
	struct settings *s = parse("http://host/", "/mnt", "-o",
	                           "readahead=0,listing_ttl=0,retries=0,threads=0,uid=0,"
	                           "gid=0,overlays=0",
	                           NULL);
	g_assert_nonnull(s);
	g_assert_cmpuint(s->readahead_max, ==, 0);
	g_assert_cmpuint(s->listing_ttl_ms, ==, 0);
	g_assert_cmpuint(s->source_options.retries, ==, UINT_MAX); /* the source's value for none */
	g_assert_cmpuint(s->threads, ==, 0);
	g_assert_cmpuint(s->source_options.uid, ==, 0);
	g_assert_cmpuint(s->source_options.gid, ==, 0);
	g_assert_cmpuint(s->overlays, ==, 0);
	settings_free(s);
}

/* Other options go to libfuse as they were written, with their commas. */
static void test_fuse_options(void)
{
	struct settings *s = parse("/usr", "/mnt", "-o", "allow_other,,fsname=a\\,b,debug", "-o",
	                           "nosuid,chunk_size=4K", NULL);
	g_assert_nonnull(s);
	g_assert_cmpuint(s->fuse_options->len, ==, 4);
	g_assert_cmpstr(s->fuse_options->pdata[0], ==, "allow_other");
	g_assert_cmpstr(s->fuse_options->pdata[1], ==, "fsname=a\\,b");
	g_assert_cmpstr(s->fuse_options->pdata[2], ==, "debug");
	g_assert_cmpstr(s->fuse_options->pdata[3], ==, "nosuid");
	g_assert_true(s->debug);
	g_assert_cmpuint(s->chunk_shift, ==, 12);
	settings_free(s);
}

static void test_words(void)
{
	g_assert_null(parse(NULL));
	g_assert_null(parse("/usr", NULL));
	g_assert_null(parse("/usr", "/mnt", "/more", NULL));
	g_assert_null(parse("", "/mnt", NULL));
	g_assert_null(parse("/usr", "", NULL));
	g_assert_null(parse("/usr", "/mnt", "--nonsense", NULL));
	g_assert_null(parse("/usr", "/mnt", "--store", NULL));
	g_assert_null(parse("/usr", "/mnt", "--header", "no colon", NULL));
	g_assert_null(parse("/usr", "/mnt", "--header", "A: b\r\nC: d", NULL));
	g_assert_null(parse("/usr", "/mnt", "--header", ": empty", NULL));
	g_assert_null(parse("gopher://host/x", "/mnt", NULL));
	struct settings *s = parse("--foreground", "/usr", "--header=A: b", "/mnt", "--header",
	                           "C: d", "--log", "/var/log/x", "--ready-fd=7", NULL);
	g_assert_nonnull(s);
	g_assert_true(s->foreground);
	g_assert_cmpstr(s->source_options.headers[0], ==, "A: b");
	g_assert_cmpstr(s->source_options.headers[1], ==, "C: d");
	g_assert_null(s->source_options.headers[2]);
	g_assert_cmpstr(s->log, ==, "/var/log/x");
	g_assert_cmpint(s->ready_fd, ==, 7);
	settings_free(s);
}

static void test_paths(void)
{
	g_autofree char *made = g_dir_make_tmp("lacunafs-XXXXXX", NULL);
	g_assert_nonnull(made);
	g_assert_cmpint(chdir(made), ==, 0);
	g_assert_cmpint(mkdir("tree", 0700), ==, 0);
	g_assert_cmpint(symlink("tree", "link"), ==, 0);
	g_autofree char *cwd = g_get_current_dir();
	g_autofree char *tree = g_build_filename(cwd, "tree", NULL);
	g_autofree char *url = g_strconcat("dir:", tree, NULL);
	g_autofree char *store = g_build_filename(cwd, "none", "s", NULL);
	g_autofree char *mnt = g_build_filename(cwd, "no-mnt", NULL);
	g_autofree char *token = g_build_filename(cwd, "token", NULL);
	struct settings *s = parse("dir:tree", "no-mnt/", "--store", "none/s/", "--token-file",
	                           "token", "--ca-file", "/ca", NULL);
	g_assert_nonnull(s);
	g_assert_cmpstr(s->url, ==, url);
	g_assert_cmpstr(s->mountpoint, ==, mnt);
	g_assert_cmpstr(s->store, ==, store);
	g_assert_cmpstr(s->source_options.token_file, ==, token);
	g_assert_cmpstr(s->source_options.ca_file, ==, "/ca");
	settings_free(s);
	s = parse("tree/", "link/", NULL);
	g_assert_nonnull(s);
	g_assert_cmpstr(s->url, ==, tree);
	g_assert_cmpstr(s->source, ==, url);
	g_assert_cmpstr(s->mountpoint, ==, tree);
	settings_free(s);
	g_assert_null(parse("none", "/mnt", NULL));
	g_assert_null(parse("dir:", "/mnt", NULL));
	g_assert_cmpint(unlink("link"), ==, 0);
	g_assert_cmpint(rmdir("tree"), ==, 0);
	g_assert_cmpint(chdir("/"), ==, 0);
	g_assert_cmpint(rmdir(made), ==, 0);
}

/* One per source, readable, below the cache directory; credentials make no difference. */
static void test_default_store(void)
{
	g_setenv("XDG_CACHE_HOME", "/cache", TRUE);
	struct settings *a = parse("http://localhost/a/tree", "/mnt", NULL);
	struct settings *b = parse("http://localhost/b/tree", "/mnt", NULL);
	struct settings *c = parse("http://joe:secret@localhost/a/tree", "/mnt", NULL);
	g_assert_true(a && b && c);
	g_assert_true(g_str_has_prefix(a->store, "/cache/lacunafs/"));
	g_assert_nonnull(strstr(a->store, "localhost"));
	g_assert_null(strchr(a->store + strlen("/cache/lacunafs/"), '/'));
	g_assert_cmpstr(a->store, !=, b->store);
	g_assert_cmpstr(a->store, ==, c->store);
	g_assert_null(strstr(c->source, "secret"));
	settings_free(a);
	settings_free(b);
	settings_free(c);
	/* XDG Base Directory Specification: a relative path is ignored */
	g_setenv("XDG_CACHE_HOME", "relative", TRUE);
	a = parse("http://localhost/tree", "/mnt", NULL);
	g_assert_nonnull(a);
	g_assert_nonnull(strstr(a->store, "/.cache/lacunafs/"));
	settings_free(a);
}

/* In another directory they say the same, and their own words are the same, too. */
static void test_restated(void)
{
	g_autofree char *place = g_strdup("/tmp/settings-XXXXXX");
	g_assert_nonnull(mkdtemp(place));
	g_autofree char *before = g_get_current_dir();
	g_assert_cmpint(chdir(place), ==, 0);
	g_assert_cmpint(mkdir("src", 0700) | mkdir("copy", 0700) | mkdir("m", 0700), ==, 0);
	struct settings *a =
	        parse("src", "m", "-o", "store=x\\,y,fsname=a\\,b,,mirror=copy,chunk_size=4K", "-o",
	              "mirror=http://u:p@h/q", "--header", "A: b c", "--token-file", "t", "--log",
	              "l", "-f", "-o", "noatime", NULL);
	g_assert_nonnull(a);
	g_assert_cmpint(chdir("/"), ==, 0);
	struct settings *b = settings_from_words(a->words->str, a->words->len, NULL);
	g_assert_nonnull(b);
	g_assert_true(g_string_equal(a->words, b->words));
	g_assert_cmpstr(a->url, ==, b->url);
	g_assert_cmpstr(a->mountpoint, ==, b->mountpoint);
	g_assert_cmpstr(a->store, ==, b->store);
	g_assert_true(g_str_has_suffix(a->store, "/x,y"));
	g_assert_cmpstr(a->log, ==, b->log);
	g_assert_cmpstr(a->source_options.token_file, ==, b->source_options.token_file);
	g_assert_cmpstr(b->source_options.headers[0], ==, "A: b c");
	g_assert_true(b->foreground);
	g_assert_cmpuint(b->chunk_shift, ==, 12);
	g_assert_cmpuint(b->mirrors->len, ==, 2);
	for (guint n = 0; n < 2; n++)
		g_assert_cmpstr(a->mirrors->pdata[n], ==, b->mirrors->pdata[n]);
	g_assert_cmpuint(b->fuse_options->len, ==, 2);
	g_assert_cmpstr(b->fuse_options->pdata[0], ==, "fsname=a\\,b");
	settings_free(a);
	settings_free(b);
	for (unsigned n = 0; n < 3; n++) {
		static const char *const made[] = {"src", "copy", "m"};
		g_autofree char *path = g_build_filename(place, made[n], NULL);
		rmdir(path);
	}
	rmdir(place);
	g_assert_cmpint(chdir(before), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/settings/defaults", test_defaults);
	g_test_add_func("/settings/units", test_units);
	g_test_add_func("/settings/keeper", test_keeper);
	g_test_add_func("/settings/listing_ttl", test_listing_ttl);
	g_test_add_func("/settings/zero", test_zero);
	g_test_add_func("/settings/refused", test_refused);
	g_test_add_func("/settings/fuse_options", test_fuse_options);
	g_test_add_func("/settings/words", test_words);
	g_test_add_func("/settings/paths", test_paths);
	g_test_add_func("/settings/restated", test_restated);
	g_test_add_func("/settings/default_store", test_default_store);
	return g_test_run();
}
