/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "fetch/base/error.h"
#include "fuse/base/jsontext.h"
#include "fuse/cli/bar.h"
#include "fuse/cli/client.h"
#include "fuse/cli/screen.h"
#include "fuse/cli/verb.h"
#include "fuse/cli/view.h"

static const char help[] =
        "Usage: lacunafs status [OPTION]... [MOUNT|PATH]...\n"
        "\n"
        "For a mount: data fetched and served, transfers, and the processes waiting.\n"
        "For a file in it: the cached chunks, drawn as a bar, and why the file is not in\n"
        "passthrough yet.\n"
        "Without an argument: all your mounts; for root, all mounts.\n"
        "\n"
        "  --json              one line of JSON each; lacunafs(1) lists the members\n"
        "  --watch [SECONDS]   repeat every SECONDS (1), in place on a terminal\n";

enum { BAR_COLUMNS = 64, BAR_MAX = 4096 };

struct looks {
	bool json, utf8;
	unsigned columns;
};

static JsonBuilder *request_new(const char *verb)
{
	JsonBuilder *b = json_builder_new();
	json_builder_begin_object(b);
	json_builder_set_member_name(b, "verb");
	json_builder_add_string_value(b, verb);
	return b;
}

static void append_json(JsonObject *answer, GString *out)
{
	g_autofree char *line = json_shown(answer);
	g_string_append_printf(out, "%s\n", line);
}

static bool is_gone(const struct mount *m)
{
	g_autoptr(GPtrArray) now = mounts_read(NULL);
	return now && !mounts_of_device(now, m->major, m->minor);
}

static bool show_mount(const struct mount *m, const struct looks *looks, GString *out, bool *silent)
{
	g_autoptr(GError) error = NULL;
	JsonBuilder *b = request_new("status");
	json_builder_end_object(b);
	g_autoptr(JsonObject) answer = client_ask(m, b, &error);
	if (silent)
		*silent = g_error_matches(error, LOCAL_ERROR, ETIMEDOUT);
	if (!answer && silent && is_gone(m))
		return true; /* unmounted since it was listed */
	if (!answer) {
		verb_complain("%s: %s", m->point, error->message);
		return false;
	}
	if (looks->json)
		append_json(answer, out);
	else
		view_mount(answer, out);
	return true;
}

static bool show_file(const struct mount *m, const char *path, const struct stat *st,
                      const struct looks *looks, GString *out)
{
	char ino[24];
	g_autoptr(GError) error = NULL;
	JsonBuilder *b = request_new("file");
	g_snprintf(ino, sizeof(ino), "%" G_GUINT64_FORMAT, (guint64)st->st_ino);
	json_builder_set_member_name(b, "ino");
	json_builder_add_string_value(b, ino);
	json_builder_set_member_name(b, "bar");
	json_builder_add_int_value(b, MIN(looks->columns, BAR_MAX));
	json_builder_end_object(b);
	g_autoptr(JsonObject) answer = client_ask(m, b, &error);
	if (!answer) {
		verb_complain("%s: %s", path, error->message);
		return false;
	}
	if (looks->json)
		append_json(answer, out);
	else
		view_file(answer, path, looks->utf8, out);
	return true;
}

/* A mount point is found by its name, without asking the mount, which may hang. */
static bool show_path(const GPtrArray *mounts, const char *path, const struct looks *looks,
                      GString *out)
{
	struct stat st;
	g_autofree char *point = mount_point_resolve(path);
	const struct mount *m = mounts_at(mounts, point);
	if (m && mount_is_ours(m))
		return show_mount(m, looks, out, NULL);
	if (lstat(path, &st) != 0) {
		verb_complain("%s: %s", path, g_strerror(errno));
		return false;
	}
	if (S_ISLNK(st.st_mode) && stat(path, &st) != 0)
		lstat(path, &st);
	m = mounts_of_device(mounts, major(st.st_dev), minor(st.st_dev));
	if (m)
		return show_file(m, path, &st, looks, out);
	verb_complain("%s: not in a lacunafs mount", path);
	return false;
}

/* Root of a user namespace sees all mounts, but may ask only its own, and the kernel does not tell
 * which those are. */
static bool in_user_namespace(void)
{
	unsigned inside, outside, count;
	g_autofree char *map = NULL;
	return g_file_get_contents("/proc/self/uid_map", &map, NULL, NULL) &&
	       !(sscanf(map, "%u %u %u", &inside, &outside, &count) == 3 && inside == 0 &&
	         outside == 0 && count == UINT32_MAX);
}

/* Mounts of a user whose daemon does not answer are skipped: there may be a thousand of them. */
static bool show_all(const GPtrArray *mounts, const struct looks *looks, GString *out)
{
	unsigned uid = geteuid(), shown = 0;
	bool ok = true, apart = in_user_namespace();
	g_autoptr(GHashTable) silent_users = g_hash_table_new(NULL, NULL); /* of uids */
	for (unsigned i = 0; i < mounts->len; i++) {
		const struct mount *m = mounts->pdata[i];
		bool silent = false;
		if (!mount_is_ours(m) || (uid != 0 && uid != m->uid))
			continue;
		if (g_hash_table_contains(silent_users, GUINT_TO_POINTER(m->uid))) {
			verb_complain("%s: not asked: another mount of uid %u does not answer",
			              m->point, m->uid);
			ok = false;
			continue;
		}
		if (apart && !client_reaches(m))
			continue;
		gsize before = out->len;
		if (shown++ && out->len && !looks->json)
			g_string_append_c(out, '\n');
		if (!show_mount(m, looks, out, &silent)) {
			g_string_truncate(out, before);
			ok = false;
		}
		if (silent && client_foreign(m))
			g_hash_table_add(silent_users, GUINT_TO_POINTER(m->uid));
	}
	if (!shown && !looks->json)
		g_string_append(out, "no mounts\n");
	return ok;
}

static bool show(char **paths, const struct looks *looks, GString *out)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) mounts = mounts_read(&error);
	if (!mounts) {
		verb_complain("%s", error->message);
		return false;
	}
	if (!paths || !paths[0])
		return show_all(mounts, looks, out);
	bool ok = true;
	for (char **path = paths; *path; path++) {
		if (path != paths && !looks->json)
			g_string_append_c(out, '\n');
		ok = show_path(mounts, *path, looks, out) && ok;
	}
	return ok;
}

static bool seconds_parse(const char *text, double *out)
{
	char *end = NULL;
	double seconds = g_ascii_strtod(text, &end);
	if (end == text || *end || !(seconds >= 0.1 && seconds <= 86400))
		return false;
	*out = seconds;
	return true;
}

static bool looks_numeric(const char *word)
{
	return g_ascii_isdigit(word[word[0] == '-']) && !word[strspn(word, "-+.,eE0123456789")];
}

/* "--watch" takes a number if one follows, which GOption cannot tell: it always gets one. */
static char **watch_spelled(int argc, char **argv)
{
	char **list = g_new0(char *, (gsize)argc + 1);
	unsigned n = 0;
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--watch") != 0)
			list[n++] = g_strdup(argv[i]);
		else if (i + 1 < argc && looks_numeric(argv[i + 1]))
			list[n++] = g_strconcat("--watch=", argv[++i], NULL);
		else
			list[n++] = g_strdup("--watch=1");
	}
	return list;
}

static int watch(char **paths, struct looks *looks, double interval)
{
	bool ok = true, terminal = isatty(STDOUT_FILENO) && !looks->json;
	struct screen *screen = screen_open(terminal);
	/* a mount that was named and is gone will not come back by waiting */
	while ((ok || !paths) && !screen_interrupted(screen)) {
		g_autoptr(GString) out = g_string_new(NULL);
		looks->columns = bar_columns(STDOUT_FILENO, BAR_COLUMNS);
		ok = show(paths, looks, out);
		if (out->len)
			screen_show(screen, out->str);
		if (ok || !paths)
			screen_sleep(screen, interval);
	}
	ok = ok || screen_interrupted(screen);
	screen_close(screen);
	return ok ? EXIT_OK : EXIT_FAILED;
}

static int run(int argc, char **argv)
{
	gboolean json = FALSE;
	g_autofree char *interval = NULL;
	g_auto(GStrv) paths = NULL, words = watch_spelled(argc, argv);
	double seconds = 0;
	const GOptionEntry entries[] = {
	        {"json", 0, 0, G_OPTION_ARG_NONE, &json},
	        {"watch", 0, 0, G_OPTION_ARG_STRING, &interval},
	        {NULL},
	};
	if (!verb_options(&verb_status, (int)g_strv_length(words), words, entries, &paths))
		return EXIT_USAGE;
	if (interval && !seconds_parse(interval, &seconds)) {
		verb_complain("status: --watch=%s: expects seconds, from 0.1 to 86400", interval);
		return EXIT_USAGE;
	}
	struct looks looks = {.json = json, .utf8 = bar_utf8()};
	if (interval)
		return watch(paths, &looks, seconds);
	looks.columns = bar_columns(STDOUT_FILENO, BAR_COLUMNS);
	g_autoptr(GString) out = g_string_new(NULL);
	bool ok = show(paths, &looks, out);
	fputs(out->str, stdout);
	return ok ? EXIT_OK : EXIT_FAILED;
}

const struct verb verb_status = {"status", run, help};
