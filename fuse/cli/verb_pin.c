/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* pin and unpin: files that are never evicted. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "fuse/base/human.h"
#include "fuse/base/json.h"
#include "fuse/base/jsontext.h"
#include "fuse/base/mounts.h"
#include "fuse/cli/client.h"
#include "fuse/cli/verb.h"

static const char pin_help[] =
        "Usage: lacunafs pin PATH...\n"
        "       lacunafs pin --list MOUNT\n"
        "\n"
        "Keeps the cached data of files, and of all files below directories, also of\n"
        "those fetched later: neither a shortage of space nor lacunafs evict drops it.\n"
        "Pins are kept in the store, and follow a file or directory that is renamed.\n"
        "Nothing is fetched: see lacunafs fill.\n"
        "\n"
        "  --list   print what is pinned in a mount, one path a line; where the mount has\n"
        "           not looked a path up since it began: the path when it was pinned\n";

static const char unpin_help[] =
        "Usage: lacunafs unpin PATH...\n"
        "\n"
        "Removes pins. Pins of other files and directories below a directory stay. A PATH\n"
        "that is still pinned by a directory above it is named on a line of its own; the\n"
        "exit status is then 1.\n";

/* `st`: of the open file, which the daemon thus knows. */
static bool ask(const struct mount *m, const char *verb, const struct stat *st, const char *path)
{
	char ino[24];
	g_autoptr(GError) error = NULL;
	JsonBuilder *b = json_builder_new();
	g_snprintf(ino, sizeof(ino), "%" G_GUINT64_FORMAT, (guint64)st->st_ino);
	json_builder_begin_object(b);
	json_add_text(b, "verb", verb);
	json_builder_set_member_name(b, "ino");
	json_builder_begin_array(b);
	json_builder_add_string_value(b, ino);
	json_builder_end_array(b);
	json_builder_end_object(b);
	g_autoptr(JsonObject) answer = client_ask(m, b, &error);
	const char *why = answer ? json_text(answer, "error", NULL) : error->message;
	if (why)
		verb_complain("%s: %s", path, why);
	return !why;
}

static bool pin(const GPtrArray *mounts, const char *verb, const char *path)
{
	struct stat st;
	int fd = open(path, O_PATH | O_CLOEXEC);
	bool ok = fd >= 0 && fstat(fd, &st) == 0;
	if (!ok)
		verb_complain("%s: %s", path, g_strerror(errno));
	const struct mount *m =
	        ok ? mounts_of_device(mounts, major(st.st_dev), minor(st.st_dev)) : NULL;
	if (ok && !m)
		verb_complain("%s: not in a lacunafs mount", path);
	ok = m && ask(m, verb, &st, path);
	if (fd >= 0)
		close(fd);
	return ok;
}

static void print_pin(const struct mount *m, JsonObject *line)
{
	const char *path = json_text(line, "path", "");
	bool known = json_true(line, "known");
	g_autofree char *whole = *path   ? g_build_filename(m->point, path, NULL)
	                         : known ? g_strdup(m->point)
	                                 : g_strconcat("inode ", json_text(line, "ino", "?"), NULL);
	g_autofree char *shown = human_name(whole);
	printf("%s%s\n", shown, *path && !known ? " (when it was pinned)" : "");
}

static bool list(const struct mount *m, const void *unused, GError **error)
{
	JsonBuilder *b = json_builder_new();
	json_builder_begin_object(b);
	json_add_text(b, "verb", "pins");
	json_builder_end_object(b);
	struct client *c = client_open(m, error);
	JsonObject *line = NULL;
	bool ok = c && client_send(c, b, error);
	if (!c)
		g_object_unref(b);
	while (ok && (ok = client_receive(c, CLIENT_TIMEOUT_MS, &line, error)) && line) {
		print_pin(m, line);
		json_object_unref(line);
	}
	if (c)
		client_close(c);
	return ok;
}

static int run(const struct verb *v, int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	g_auto(GStrv) paths = NULL;
	gboolean lists = FALSE;
	const GOptionEntry entries[] = {{"list", 0, 0, G_OPTION_ARG_NONE, &lists}, {NULL}};
	const GOptionEntry none[] = {{NULL}};
	if (!verb_options(v, argc, argv, v == &verb_pin ? entries : none, &paths))
		return EXIT_USAGE;
	if (lists)
		return verb_of_mount(v, paths, list, NULL);
	if (!paths || !paths[0]) {
		verb_complain("%s: expects a PATH", v->name);
		return EXIT_USAGE;
	}
	g_autoptr(GPtrArray) mounts = mounts_read(&error);
	if (!mounts) {
		verb_complain("%s", error->message);
		return EXIT_FAILED;
	}
	bool ok = true;
	for (char **path = paths; *path; path++)
		ok = pin(mounts, v->name, *path) && ok;
	return ok ? EXIT_OK : EXIT_FAILED;
}

static int pin_run(int argc, char **argv)
{
	return run(&verb_pin, argc, argv);
}

static int unpin_run(int argc, char **argv)
{
	return run(&verb_unpin, argc, argv);
}

const struct verb verb_pin = {"pin", pin_run, pin_help};
const struct verb verb_unpin = {"unpin", unpin_run, unpin_help};
