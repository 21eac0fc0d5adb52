/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fuse/cli/users.h"

static gboolean below(const char *path, const char *directory)
{
	size_t length = strlen(directory);
	return strncmp(path, directory, length) == 0 &&
	       (path[length] == '/' || path[length] == '\0' ||
	        g_str_has_prefix(path + length, " (deleted)"));
}

static gboolean link_below(const char *link, const char *directory)
{
	char target[PATH_MAX];
	ssize_t n = readlink(link, target, sizeof(target) - 1);
	if (n <= 0)
		return FALSE;
	target[n] = '\0';
	return below(target, directory);
}

static gboolean descriptor_below(const char *process, const char *directory)
{
	g_autofree char *folder = g_build_filename(process, "fd", NULL);
	GDir *list = g_dir_open(folder, 0, NULL);
	const char *name;
	gboolean found = FALSE;
	while (list && !found && (name = g_dir_read_name(list))) {
		g_autofree char *link = g_build_filename(folder, name, NULL);
		found = link_below(link, directory);
	}
	if (list)
		g_dir_close(list);
	return found;
}

static gboolean mapping_below(const char *process, const char *directory)
{
	g_autofree char *file = g_build_filename(process, "maps", NULL);
	g_autofree char *text = NULL;
	if (!g_file_get_contents(file, &text, NULL, NULL))
		return FALSE;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		const char *path = strchr(*line, '/');
		if (path && below(path, directory))
			return TRUE;
	}
	return FALSE;
}

/* How `process` (its folder in /proc) uses the directory; NULL: no use is visible. */
static const char *use_of(const char *process, const char *directory)
{
	static const char *const links[][2] = {
	        {"cwd", "its working directory"}, {"exe", "its program"}, {"root", "its root"}};
	for (unsigned i = 0; i < G_N_ELEMENTS(links); i++) {
		g_autofree char *link = g_build_filename(process, links[i][0], NULL);
		if (link_below(link, directory))
			return links[i][1];
	}
	if (descriptor_below(process, directory))
		return "an open file";
	return mapping_below(process, directory) ? "a mapped file" : NULL;
}

GPtrArray *users_of(const char *mountpoint, unsigned max)
{
	GPtrArray *users = g_ptr_array_new_with_free_func(g_free);
	GDir *list = g_dir_open("/proc", 0, NULL);
	const char *name;
	while (list && users->len < max && (name = g_dir_read_name(list))) {
		if (!g_ascii_isdigit(name[0]) || strtol(name, NULL, 10) == getpid())
			continue;
		g_autofree char *process = g_build_filename("/proc", name, NULL);
		const char *use = use_of(process, mountpoint);
		if (!use)
			continue;
		g_autofree char *file = g_build_filename(process, "comm", NULL);
		g_autofree char *comm = NULL;
		if (!g_file_get_contents(file, &comm, NULL, NULL))
			continue;
		g_strchomp(comm);
		g_ptr_array_add(users, g_strdup_printf("%s[%s] (%s)", comm, name, use));
	}
	if (list)
		g_dir_close(list);
	return users;
}
