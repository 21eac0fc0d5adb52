/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* pin and unpin: files that are never evicted. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "fuse/base/json.h"
#include "fuse/base/jsontext.h"
#include "fuse/base/mounts.h"
#include "fuse/cli/client.h"
#include "fuse/cli/verb.h"

static const char pin_help[] =
        "Usage: lacunafs pin PATH...\n"
        "\n"
        "Keeps the cached data of files, and of all files below directories, also of\n"
        "those fetched later: neither a shortage of space nor lacunafs evict drops it.\n"
        "Pins are kept in the store, and follow a file or directory that is renamed.\n"
        "Nothing is fetched: see lacunafs fill.\n";

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

static int run(const struct verb *v, int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	g_auto(GStrv) paths = NULL;
	const GOptionEntry entries[] = {{NULL}};
	if (!verb_options(v, argc, argv, entries, &paths))
		return EXIT_USAGE;
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
