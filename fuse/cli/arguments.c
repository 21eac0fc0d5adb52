/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fuse/base/log.h"
#include "fuse/cli/arguments.h"
#include "fetch/base/error.h"
#include "fetch/base/path.h"
#include "fetch/index/signature.h"
#include "fetch/source/source_open.h"
#include "fuse/cli/option.h"
#include "fuse/cli/restate.h"

struct words { /* of the command line, as GOption hands them over; owned */
	char **options, **headers, **mirrors, **rest;
	char *store, *token_file, *query_file, *ca_file, *cert, *key, *log;
	int ready_fd;
	gboolean foreground;
	/* Of a mount that goes on: borrowed, as in restate.h. NULL: a new mount */
	const char *keys;
	char **sources; /* those not taken yet */
};

static void words_clear(struct words *w)
{
	g_strfreev(w->options);
	g_strfreev(w->headers);
	g_strfreev(w->mirrors);
	g_strfreev(w->rest);
	g_free(w->store);
	g_free(w->token_file);
	g_free(w->query_file);
	g_free(w->ca_file);
	g_free(w->cert);
	g_free(w->key);
	g_free(w->log);
}

static bool usage(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool usage(GError **error, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *message = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error_literal(error, FETCH_ERROR, FETCH_USAGE, message);
	return false;
}

static bool words_parse(int argc, char **argv, struct words *w, GError **error)
{
	const GOptionEntry entries[] = {
	        {"options", 'o', 0, G_OPTION_ARG_FILENAME_ARRAY, &w->options},
	        {"store", 0, 0, G_OPTION_ARG_FILENAME, &w->store},
	        {"mirror", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &w->mirrors},
	        {"foreground", 'f', 0, G_OPTION_ARG_NONE, &w->foreground},
	        {"header", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &w->headers},
	        {"token-file", 0, 0, G_OPTION_ARG_FILENAME, &w->token_file},
	        {"query-file", 0, 0, G_OPTION_ARG_FILENAME, &w->query_file},
	        {"ca-file", 0, 0, G_OPTION_ARG_FILENAME, &w->ca_file},
	        {"cert", 0, 0, G_OPTION_ARG_FILENAME, &w->cert},
	        {"key", 0, 0, G_OPTION_ARG_FILENAME, &w->key},
	        {"log", 0, 0, G_OPTION_ARG_FILENAME, &w->log},
	        {"ready-fd", 0, 0, G_OPTION_ARG_INT, &w->ready_fd},
	        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &w->rest},
	        {NULL},
	};
	g_autoptr(GPtrArray) words = g_ptr_array_new();
	g_ptr_array_add(words, g_strdup("lacunafs"));
	for (int i = 0; i < argc; i++)
		g_ptr_array_add(words, g_strdup(argv[i]));
	g_ptr_array_add(words, NULL);
	char **list = (char **)g_ptr_array_free(g_steal_pointer(&words), FALSE);
	g_autoptr(GOptionContext) context = g_option_context_new(NULL);
	g_option_context_set_help_enabled(context, FALSE);
	g_option_context_add_main_entries(context, entries, NULL);
	g_autoptr(GError) cause = NULL;
	bool parsed = g_option_context_parse_strv(context, &list, &cause);
	g_strfreev(list);
	return parsed || usage(error, "mount: %s", cause->message);
}

static char *absolute(const char *path, GError **error)
{
	/* ".." stays: behind a symbolic link it means another directory */
	char *whole = path_absolute(path);
	size_t length = whole ? strlen(whole) : 0;
	if (!whole)
		g_set_error(error, LOCAL_ERROR, errno, "%s: the current directory: %s", path,
		            g_strerror(errno));
	while (length > 1 && whole[length - 1] == '/')
		whole[--length] = '\0';
	return whole;
}

/* A path or dir:PATH made absolute; another scheme's URL as it is. */
static char *absolute_url(const char *url, GError **error)
{
	size_t scheme = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                            "0123456789+.-");
	if (g_ascii_strncasecmp(url, "dir:", 4) == 0 && url[4]) {
		g_autofree char *path = absolute(url + 4, error);
		return path ? g_strconcat("dir:", path, NULL) : NULL;
	}
	return g_ascii_isalpha(url[0]) && url[scheme] == ':' ? g_strdup(url) : absolute(url, error);
}

static char *resolved(const char *path, GError **error)
{
	g_autofree char *whole = absolute(path, error);
	char *real = whole ? realpath(whole, NULL) : NULL;
	if (!real)
		return g_steal_pointer(&whole);
	char *copy = g_strdup(real);
	free(real);
	return copy;
}

/* A file that need not be there yet. */
static char *resolved_file(const char *path, GError **error)
{
	g_autofree char *directory = g_path_get_dirname(path);
	g_autofree char *name = g_path_get_basename(path);
	g_autofree char *real = resolved(directory, error);
	return real ? g_build_filename(real, name, NULL) : NULL;
}

/* CACHE/lacunafs/http_mirror.example_tree-0123456789abcdef */
static char *default_store(const char *source)
{
	const char *cache = g_getenv("XDG_CACHE_HOME");
	g_autofree char *user = path_home();
	g_autofree char *home = g_build_filename(user, ".cache", NULL);
	GString *name = g_string_new(NULL);
	for (const char *p = source; *p && name->len < 80; p++)
		if (g_ascii_isalnum(*p) || strchr(".-", *p))
			g_string_append_c(name, *p);
		else if (name->len && name->str[name->len - 1] != '_')
			g_string_append_c(name, '_');
	g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, source, -1);
	g_string_append_printf(name, "-%.16s", hash);
	g_autofree char *file = g_string_free(name, FALSE);
	return g_build_filename(cache && g_path_is_absolute(cache) ? cache : home, "lacunafs", file,
	                        NULL);
}

static bool header_check(const char *header, GError **error)
{
	const char *colon = strchr(header, ':');
	bool ok = colon && colon > header;
	for (const char *p = header; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f || (p < colon && *p == ' '))
			ok = false;
	return ok || usage(error, "--header: expects \"NAME: VALUE\" on one line");
}

/* A source that cannot be parsed may hold credentials anywhere: it is not quoted. */
static bool source_take(struct words *w, const char *url, bool away, char **whole, char **canonical,
                        GError **error)
{
	g_autoptr(GError) cause = NULL;
	*whole = absolute_url(url, error);
	if (!*whole)
		return false;
	if (w->keys) {
		*canonical = *w->sources ? g_strdup(*w->sources++) : NULL;
		return *canonical || usage(error, "the mount's words lack a source");
	}
	*canonical = source_canonical(*whole, away, &cause);
	if (cause && !strstr(cause->message, url) && !strpbrk(url, "@?"))
		g_prefix_error(&cause, "%s: ", url);
	if (cause)
		g_propagate_error(error, g_steal_pointer(&cause));
	return *canonical != NULL;
}

/* From -o mirror= already, and from --mirror. */
static bool mirrors_take(struct words *w, struct settings *s, GError **error)
{
	g_autoptr(GPtrArray) given = s->mirrors;
	char **more = w->mirrors;
	s->mirrors = g_ptr_array_new_with_free_func(g_free);
	for (; more && *more; more++)
		g_ptr_array_add(given, g_strdup(*more));
	if (given->len >= MIRRORS_MAX)
		return usage(error, "--mirror: at most %u mirrors", MIRRORS_MAX - 1);
	for (guint n = 0; n < given->len; n++) {
		char *whole = NULL, *canonical = NULL;
		const char *url = given->pdata[n];
		if (!url[0])
			return usage(error, "mount: --mirror must not be empty");
		bool ok = source_take(w, url, true, &whole, &canonical, error);
		bool twice = ok && (strcmp(canonical, s->source) == 0 ||
		                    g_ptr_array_find_with_equal_func(s->mirror_names, canonical,
		                                                     g_str_equal, NULL));
		if (ok && !twice) {
			g_ptr_array_add(s->mirrors, whole);
			g_ptr_array_add(s->mirror_names, canonical);
			continue;
		}
		if (twice)
			usage(error, "--mirror: %s is given twice", canonical);
		g_free(whole);
		g_free(canonical);
		return false;
	}
	return true;
}

static bool is_given(const char *word, const char *what, GError **error)
{
	return !word || word[0] || usage(error, "mount: %s must not be empty", what);
}

/* *place, from `word` if that is given. */
static bool place_take(char **place, const char *word, char *(*from)(const char *, GError **),
                       GError **error)
{
	if (word)
		*place = from(word, error);
	return !word || *place;
}

static char *log_place(const char *word, GError **error)
{
	return log_is_syslog(word) ? g_strdup(word) : resolved_file(word, error);
}

static char *log_known(const char *word, GError **error)
{
	return log_is_syslog(word) ? g_strdup(word) : absolute(word, error);
}

static bool places_take(const struct words *w, struct settings *s, GError **error)
{
	struct source_options *o = &s->source_options;
	g_autofree char *named = g_steal_pointer(&s->store); /* -o store= */
	const char *store = w->store ? w->store : named;
	/* a mount's own words have resolved paths: nothing looks at the disk, or at the mount */
	bool known = w->keys != NULL;
	if (!store)
		s->store = default_store(s->source);
	return place_take(&s->mountpoint, w->rest[1], known ? absolute : resolved, error) &&
	       place_take(&s->store, store, known ? absolute : resolved, error) &&
	       place_take(&o->token_file, w->token_file, absolute, error) &&
	       place_take(&o->query_file, w->query_file, absolute, error) &&
	       place_take(&o->ca_file, w->ca_file, absolute, error) &&
	       place_take(&o->cert_file, w->cert, absolute, error) &&
	       place_take(&o->key_file, w->key, absolute, error) &&
	       place_take(&s->log, w->log, known ? log_known : log_place, error);
}

/* Read once, by the first program: the mount may cover the file, and a daemon may not reach it any
 * more. */
static bool keys_take(const struct words *w, struct settings *s, GError **error)
{
	const char *file = s->verify_key;
	if (!file)
		return true;
	if (s->source_options.no_verify || s->source_options.no_index)
		return usage(error, "-o verify_key: excludes verify=no and index=no");
	s->source_options.keys =
	        w->keys ? keyring_parse(w->keys, file, error) : keyring_open(file, error);
	return s->source_options.keys != NULL;
}

static bool words_take(struct words *w, struct settings *s, GError **error)
{
	unsigned count = w->rest ? g_strv_length(w->rest) : 0;
	if (count != 2)
		return usage(error, count < 2 ? "mount: expects SOURCE and MOUNTPOINT"
		                              : "mount: expects SOURCE and MOUNTPOINT only");
	for (char **o = w->options; o && *o; o++)
		if (!option_parse(s, *o, error))
			return false;
	for (char **h = w->headers; h && *h; h++)
		if (!header_check(*h, error))
			return false;
	if (!w->rest[0][0] || !w->rest[1][0])
		return usage(error, "mount: SOURCE and MOUNTPOINT must not be empty");
	/* "$UNSET" in a script must not mean the default */
	if (!is_given(w->store, "--store", error) || !is_given(w->log, "--log", error) ||
	    !is_given(w->token_file, "--token-file", error) ||
	    !is_given(w->ca_file, "--ca-file", error))
		return false;
	bool away = s->source_options.offline || s->mirrors->len || w->mirrors;
	if (!source_take(w, w->rest[0], away, &s->url, &s->source, error) ||
	    !mirrors_take(w, s, error))
		return false;
	s->source_options.wait_ms = s->wait_ms;
	if (s->owner_named && s->source_options.own)
		return usage(error, "-o owner=me: excludes uid= and gid=");
	if (s->owner_named && g_str_has_prefix(s->source, "dir:"))
		return usage(error, "-o uid=, gid=: this source has owners of its own; -o owner=me "
		                    "makes all of it yours");
	s->foreground = w->foreground;
	s->ready_fd = w->ready_fd;
	s->source_options.headers = g_strdupv(w->headers);
	return places_take(w, s, error) && keys_take(w, s, error);
}

/* `words`: nothing, or keys and sources alone. */
static struct settings *parse(int argc, char **argv, struct words words, GError **error)
{
	struct settings *s = g_new0(struct settings, 1);
	s->fuse_options = g_ptr_array_new_with_free_func(g_free);
	s->mirrors = g_ptr_array_new_with_free_func(g_free);
	s->mirror_names = g_ptr_array_new_with_free_func(g_free);
	option_defaults(s);
	words.ready_fd = -1;
	g_autoptr(GError) cause = NULL;
	bool ok = words_parse(argc, argv, &words, &cause) && words_take(&words, s, &cause);
	if (ok)
		s->words = restate(words.options, s);
	words_clear(&words);
	if (ok)
		return s;
	g_strdelimit(cause->message, "\n\r", ' '); /* of the arguments it quotes */
	g_propagate_error(error, g_steal_pointer(&cause));
	settings_free(s);
	return NULL;
}

struct settings *settings_parse(int argc, char **argv, GError **error)
{
	return parse(argc, argv, (struct words){0}, error);
}

struct settings *settings_from_words(const char *words, size_t size, GError **error)
{
	g_autoptr(GPtrArray) list = g_ptr_array_new();
	for (const char *word = words; word < words + size; word += strlen(word) + 1)
		g_ptr_array_add(list, (char *)word);
	g_ptr_array_add(list, NULL);
	guint end = 1;
	while (end < list->len - 1 && ((char *)list->pdata[end])[0])
		end++;
	if (end >= list->len - 1) {
		usage(error, "the mount's words are damaged");
		return NULL;
	}
	list->pdata[end] = NULL; /* of the sources */
	const struct words known = {.keys = list->pdata[0], .sources = (char **)list->pdata + 1};
	return parse((int)(list->len - end - 2), (char **)list->pdata + end + 1, known, error);
}

void settings_free(struct settings *s)
{
	if (!s)
		return;
	if (s->words)
		g_string_free(s->words, TRUE);
	g_free(s->url);
	g_free(s->source);
	g_ptr_array_unref(s->mirrors);
	g_ptr_array_unref(s->mirror_names);
	g_free(s->mountpoint);
	g_free(s->store);
	g_free(s->log);
	g_free(s->metrics);
	g_free(s->verify_key);
	keyring_free((struct keyring *)s->source_options.keys);
	g_ptr_array_unref(s->fuse_options);
	g_strfreev(s->source_options.headers);
	g_free(s->source_options.token_file);
	g_free(s->source_options.index_timezone);
	g_free(s->source_options.query_file);
	g_free(s->source_options.ca_file);
	g_free(s->source_options.cert_file);
	g_free(s->source_options.key_file);
	g_free(s);
}
