/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "fuse/base/mounts.h"
#include "fetch/base/error.h"
#include "fetch/base/path.h"

static void mount_free(void *data)
{
	struct mount *m = data;
	g_free(m->point);
	g_free(m->type);
	g_free(m->source);
	g_free(m);
}

static char *unescape(const char *text)
{
	GString *out = g_string_new(NULL);
	for (const char *p = text; *p; p++) {
		if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' &&
		    p[3] >= '0' && p[3] <= '7') {
			g_string_append_c(
			        out, (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0')));
			p += 3;
		} else {
			g_string_append_c(out, *p);
		}
	}
	return g_string_free(out, FALSE);
}

static unsigned user_id(const char *options)
{
	g_auto(GStrv) list = g_strsplit(options, ",", -1);
	for (char **o = list; *o; o++)
		if (g_str_has_prefix(*o, "user_id="))
			return (unsigned)g_ascii_strtoull(*o + 8, NULL, 10);
	return 0;
}

/* 36 35 98:0 /root /point rw,noatime [tag…] - type source options */
static struct mount *mount_parse(const char *line)
{
	g_auto(GStrv) field = g_strsplit(line, " ", -1);
	unsigned count = g_strv_length(field), separator = 6, major, minor;
	while (separator < count && strcmp(field[separator], "-") != 0)
		separator++;
	if (separator + 3 >= count || sscanf(field[2], "%u:%u", &major, &minor) != 2)
		return NULL;
	struct mount *m = g_new0(struct mount, 1);
	m->major = major;
	m->minor = minor;
	m->point = unescape(field[4]);
	m->type = unescape(field[separator + 1]);
	m->source = unescape(field[separator + 2]);
	m->uid = user_id(field[separator + 3]);
	return m;
}

GPtrArray *mounts_parse(const char *text)
{
	GPtrArray *mounts = g_ptr_array_new_with_free_func(mount_free);
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		struct mount *m = mount_parse(*line);
		if (m)
			g_ptr_array_add(mounts, m);
	}
	return mounts;
}

GPtrArray *mounts_read(GError **error)
{
	g_autofree char *text = NULL;
	if (!g_file_get_contents("/proc/self/mountinfo", &text, NULL, error))
		return NULL;
	return mounts_parse(text);
}

const struct mount *mounts_at(const GPtrArray *mounts, const char *point)
{
	for (unsigned i = mounts->len; i-- > 0;) {
		const struct mount *m = mounts->pdata[i];
		if (strcmp(m->point, point) == 0)
			return m;
	}
	return NULL;
}

const struct mount *mounts_of_device(const GPtrArray *mounts, unsigned major, unsigned minor)
{
	for (unsigned i = 0; i < mounts->len; i++) {
		const struct mount *m = mounts->pdata[i];
		if (m->major == major && m->minor == minor && mount_is_ours(m))
			return m;
	}
	return NULL;
}

const struct mount *mounts_of_path(const GPtrArray *mounts, const char *path)
{
	struct stat st;
	g_autofree char *point = mount_point_resolve(path);
	const struct mount *m = mounts_at(mounts, point);
	if (m && mount_is_ours(m))
		return m;
	if (stat(path, &st) != 0)
		return NULL;
	m = mounts_of_device(mounts, major(st.st_dev), minor(st.st_dev));
	errno = m ? 0 : ENOTTY;
	return m;
}

bool mount_is_ours(const struct mount *m)
{
	return strcmp(m->type, MOUNT_TYPE) == 0;
}

char *mount_point_resolve(const char *path)
{
	g_autofree char *plain = g_strdup(path);
	/* with a slash at the end realpath(3) would stat, which a dead mount fails */
	for (size_t n = strlen(plain); n > 1 && plain[n - 1] == '/'; n--)
		plain[n - 1] = '\0';
	char *real = realpath(plain, NULL);
	if (!real) {
		g_autofree char *whole = path_absolute(plain);
		return whole ? g_canonicalize_filename(whole, NULL) : g_steal_pointer(&plain);
	}
	char *resolved = g_strdup(real);
	free(real);
	return resolved;
}
