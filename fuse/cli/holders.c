/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/cli/holders.h"
#include <limits.h>
#include <string.h>
#include <unistd.h>

enum { NAMED_MAX = 3 };

/* "mnt:[4026531841]"; NULL: not visible to this user, or gone. */
static char *namespace_of(const char *process)
{
	char target[64];
	g_autofree char *link = g_build_filename("/proc", process, "ns", "mnt", NULL);
	ssize_t n = readlink(link, target, sizeof(target) - 1);
	return n > 0 ? g_strndup(target, (size_t)n) : NULL;
}

/* The first place of `m` in that process's namespace; NULL: there is none. Once a file system has
 * gone, its number is the next one's. */
static char *point_in(const char *process, const struct mount *m)
{
	g_autofree char *file = g_build_filename("/proc", process, "mountinfo", NULL);
	g_autofree char *text = NULL;
	if (!g_file_get_contents(file, &text, NULL, NULL))
		return NULL;
	g_autoptr(GPtrArray) mounts = mounts_parse(text);
	const struct mount *found = mounts_of_device(mounts, m->major, m->minor);
	return found && strcmp(found->source, m->source) == 0 ? g_strdup(found->point) : NULL;
}

/* One process for each other namespace that has the mount. */
static GPtrArray *processes(const struct mount *m, pid_t daemon)
{
	GPtrArray *named = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autofree char *number = g_strdup_printf("%d", (int)daemon);
	char *known[] = {namespace_of("self"), namespace_of(number)};
	for (unsigned n = 0; n < G_N_ELEMENTS(known); n++)
		if (known[n])
			g_hash_table_add(seen, known[n]);
	GDir *list = g_dir_open("/proc", 0, NULL);
	const char *process;
	while (list && named->len < NAMED_MAX && (process = g_dir_read_name(list))) {
		char *space = g_ascii_isdigit(process[0]) ? namespace_of(process) : NULL;
		if (!space || !g_hash_table_add(seen, space))
			continue;
		g_autofree char *point = point_in(process, m);
		g_autofree char *file = g_build_filename("/proc", process, "comm", NULL);
		g_autofree char *comm = NULL;
		if (point && g_file_get_contents(file, &comm, NULL, NULL))
			g_ptr_array_add(named,
			                g_strdup_printf("%s[%s]", g_strchomp(comm), process));
	}
	if (list)
		g_dir_close(list);
	return named;
}

char *holders_of(const struct mount *m, pid_t daemon)
{
	g_autofree char *here = point_in("self", m);
	g_autoptr(GPtrArray) named = processes(m, daemon);
	if (!here && !named->len)
		return NULL;
	g_ptr_array_add(named, NULL);
	g_autofree char *names = g_strjoinv(", ", (char **)named->pdata);
	return g_strconcat(here ? "at " : "", here ? here : "", here && *names ? " and " : "",
	                   *names ? "in the mount namespace of " : "", names, NULL);
}
