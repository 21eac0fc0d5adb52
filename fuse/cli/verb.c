/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <stdio.h>
#include "fuse/cli/verb.h"
#include "fuse/base/human.h"
#include "fuse/base/log.h"
#include "fuse/base/mounts.h"

void verb_complain(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *message = g_strdup_vprintf(format, args);
	va_end(args);
	g_autofree char *line = human_name(g_strchomp(message));
	log_redact(line);
	fprintf(stderr, "lacunafs: %s\n", line);
}

gboolean verb_options(const struct verb *v, int argc, char **argv, const GOptionEntry *entries,
                      char ***rest)
{
	const GOptionEntry remaining[] = {
	        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, rest},
	        {NULL},
	};
	char **list = g_new0(char *, (gsize)argc + 2);
	list[0] = g_strdup("lacunafs");
	for (int i = 0; i < argc; i++)
		list[i + 1] = g_strdup(argv[i]);
	g_autoptr(GOptionContext) context = g_option_context_new(NULL);
	g_option_context_set_help_enabled(context, FALSE);
	g_option_context_add_main_entries(context, entries, NULL);
	g_option_context_add_main_entries(context, remaining, NULL);
	g_autoptr(GError) error = NULL;
	gboolean ok = g_option_context_parse_strv(context, &list, &error);
	g_strfreev(list);
	if (!ok)
		verb_complain("%s: %s", v->name, error->message);
	return ok;
}

int verb_of_mount(const struct verb *v, char **paths,
                  bool (*work)(const struct mount *, const void *user, GError **), const void *user)
{
	g_autoptr(GError) error = NULL;
	if (!paths || !paths[0] || paths[1]) {
		verb_complain("%s: expects one MOUNT", v->name);
		return EXIT_USAGE;
	}
	g_autoptr(GPtrArray) mounts = mounts_read(&error);
	const struct mount *m = mounts ? mounts_of_path(mounts, paths[0]) : NULL;
	if (m && work(m, user, &error))
		return EXIT_OK;
	verb_complain("%s: %s", paths[0],
	              error             ? error->message
	              : errno == ENOTTY ? "not in a lacunafs mount"
	                                : g_strerror(errno));
	return EXIT_FAILED;
}
