/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "fetch/base/error.h"
#include "fetch/base/pool.h"
#include "fetch/check/check.h"
#include "fuse/base/check_json.h"
#include "fuse/base/human.h"
#include "fuse/base/json.h"
#include "fuse/base/jsontext.h"
#include "fuse/base/mounts.h"
#include "fuse/cli/client.h"
#include "fuse/cli/screen.h"
#include "fuse/cli/verb.h"

static const char help[] =
        "Usage: lacunafs verify [OPTION]... [PATH]\n"
        "\n"
        "Checks a store: of the mount that contains PATH, or the store directory PATH of\n"
        "a mount that is unmounted (without PATH: the current directory). Damage in its\n"
        "metadata is found, and cached data is compared with the hashes recorded when it\n"
        "was fetched. Exit status 0: no damage; 1: damage was found, or repaired; 2: not\n"
        "everything could be checked.\n"
        "\n"
        "  --repair   damaged cached data becomes absent, and is fetched on access;\n"
        "             metadata that has a copy is restored. Local changes are never\n"
        "             touched. In a mounted store only listings are repaired\n"
        "  --quick    metadata only: does not read cached data\n"
        "  --json     one line of JSON for each finding, and one at the end\n";

enum { ANSWER_MS = 60000 };
#define SHOW_NS INT64_C(200000000)

struct verification {
	bool json, repair, quick, terminal, live;
	struct screen *screen;
	int64_t shown_ns;
	struct check_totals totals;
	char *store; /* owned */
};

static void print_finding(struct verification *v, const struct check_finding *f)
{
	g_autofree char *path = human_name(f->path), *what = human_name(f->what);
	g_autofree char *remedy = f->remedy ? human_name(f->remedy) : NULL;
	const char *end = f->unread     ? ""
	                  : f->repaired ? ": repaired"
	                  : remedy      ? "; remedy: "
	                  : v->live     ? "; remedy: unmount, and verify --repair the store"
	                                : "; remedy: verify --repair";
	screen_clear(v->screen);
	printf("%s: %s%s%s\n", path, what, end, remedy && !f->repaired && !f->unread ? remedy : "");
}

static void print_json(JsonBuilder *b)
{
	gsize length;
	g_autofree char *line = NULL;
	json_builder_end_object(b);
	line = json_line(b, &length);
	fwrite(line, 1, length, stdout);
	g_object_unref(b);
}

static JsonBuilder *json_new(void)
{
	JsonBuilder *b = json_builder_new();
	json_builder_begin_object(b);
	return b;
}

static void found(void *user, const struct check_finding *f)
{
	struct verification *v = user;
	if (!v->json) {
		print_finding(v, f);
		return;
	}
	JsonBuilder *b = json_new();
	check_json_add_finding(b, f);
	print_json(b);
}

static void append_figures(const struct check_totals *t, GString *line)
{
	g_autofree char *objects = human_count(t->objects), *bytes = human_size(t->bytes);
	g_string_append_printf(line, "%s objects, %s of cached data", objects, bytes);
}

static bool goes_on(void *user, const struct check_totals *so_far)
{
	struct verification *v = user;
	int64_t now = clock_now();
	v->totals = *so_far;
	if (v->terminal && now - v->shown_ns > SHOW_NS) {
		g_autoptr(GString) line = g_string_new("checked so far: ");
		append_figures(so_far, line);
		g_string_append_c(line, '\n');
		screen_show(v->screen, line->str);
		v->shown_ns = now;
	}
	return !screen_interrupted(v->screen);
}

static void summary(struct verification *v)
{
	const struct check_totals *t = &v->totals;
	screen_clear(v->screen);
	if (v->json) {
		JsonBuilder *b = json_new();
		json_add_text(b, "store", v->store);
		check_json_add_totals(b, t);
		print_json(b);
		return;
	}
	g_autoptr(GString) line = g_string_new(NULL);
	append_figures(t, line);
	if (t->damaged)
		g_string_append_printf(line,
		                       ": %" G_GUINT64_FORMAT
		                       " damaged, of which %" G_GUINT64_FORMAT " repaired",
		                       t->damaged, t->repaired);
	else
		g_string_append(line, ": no damage");
	if (t->unread)
		g_string_append_printf(line, ", %" G_GUINT64_FORMAT " not checked", t->unread);
	puts(line->str);
}

static bool check_directory(struct verification *v, const char *path, GError **error)
{
	static const struct check_ops ops = {.found = found, .goes_on = goes_on};
	const struct check_options options = {.repair = v->repair, .bytes = !v->quick};
	struct store *s = check_open(path, error);
	if (!s)
		return false;
	v->store = g_strdup(path);
	bool ok = check_store(s, &options, &ops, v, &v->totals);
	check_close(s);
	if (!ok)
		g_set_error_literal(error, LOCAL_ERROR, EINTR, "interrupted");
	return ok;
}

/* A line of the daemon: of a finding, or of the totals. */
static void take_line(struct verification *v, JsonObject *answer)
{
	struct check_finding f;
	struct check_totals t;
	if (check_json_finding(answer, &f)) {
		found(v, &f);
		return;
	}
	check_json_totals(answer, &t);
	goes_on(v, &t);
	if (json_object_has_member(answer, "store"))
		v->store = g_strdup(json_text(answer, "store", ""));
}

static bool check_mount(struct verification *v, const struct mount *m, GError **error)
{
	struct client *c = client_open(m, error);
	if (!c)
		return false;
	JsonBuilder *b = json_new();
	json_add_text(b, "verb", "verify");
	json_add_bool(b, "repair", v->repair);
	json_add_bool(b, "bytes", !v->quick);
	json_builder_end_object(b);
	bool ok = client_send(c, b, error);
	while (ok && !v->store) {
		g_autoptr(JsonObject) answer = NULL;
		ok = client_receive(c, ANSWER_MS, &answer, error);
		if (ok && answer)
			take_line(v, answer);
		if (ok && (!answer || screen_interrupted(v->screen))) {
			g_set_error_literal(error, LOCAL_ERROR, answer ? EINTR : EPROTO,
			                    answer ? "interrupted" : "the daemon hung up");
			ok = false;
		}
	}
	client_close(c);
	return ok;
}

static bool check(struct verification *v, const char *path, GError **error)
{
	g_autoptr(GPtrArray) mounts = mounts_read(error);
	const struct mount *m = mounts ? mounts_of_path(mounts, path) : NULL;
	v->live = m;
	return m ? check_mount(v, m, error) : mounts && check_directory(v, path, error);
}

static int run(int argc, char **argv)
{
	gboolean json = FALSE, repair = FALSE, quick = FALSE;
	g_auto(GStrv) paths = NULL;
	g_autoptr(GError) error = NULL;
	const GOptionEntry entries[] = {
	        {"repair", 0, 0, G_OPTION_ARG_NONE, &repair},
	        {"quick", 0, 0, G_OPTION_ARG_NONE, &quick},
	        {"json", 0, 0, G_OPTION_ARG_NONE, &json},
	        {NULL},
	};
	if (!verb_options(&verb_verify, argc, argv, entries, &paths))
		return EXIT_USAGE;
	if (paths && paths[0] && paths[1]) {
		verb_complain("verify: expects one PATH");
		return EXIT_USAGE;
	}
	struct verification v = {.json = json, .repair = repair, .quick = quick};
	const char *path = paths && paths[0] ? paths[0] : ".";
	v.terminal = isatty(STDOUT_FILENO) && !json;
	v.screen = screen_open(v.terminal);
	bool ok = check(&v, path, &error);
	if (ok)
		summary(&v);
	screen_clear(v.screen);
	screen_close(v.screen);
	if (!ok)
		verb_complain("%s: %s", path, error->message);
	g_free(v.store);
	return !ok || v.totals.unread ? EXIT_UNCHECKED : v.totals.damaged ? EXIT_FAILED : EXIT_OK;
}

const struct verb verb_verify = {"verify", run, help};
