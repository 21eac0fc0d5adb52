/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <linux/limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include "fetch/source/dir/dir_private.h"

static bool is_kept(const char *name)
{
	return g_str_has_prefix(name, "user.") || g_str_has_prefix(name, "security.") ||
	       g_str_has_prefix(name, "trusted.") || strcmp(name, "system.posix_acl_access") == 0 ||
	       strcmp(name, "system.posix_acl_default") == 0;
}

static void bytes_free(void *bytes)
{
	g_bytes_unref(bytes);
}

static GBytes *pack(GPtrArray *names, GPtrArray *values)
{
	g_autofree const void **data = g_new(const void *, values->len);
	g_autofree size_t *sizes = g_new(size_t, values->len);

	for (unsigned i = 0; i < values->len; i++)
		data[i] = g_bytes_get_data(values->pdata[i], &sizes[i]);
	return listing_xattrs_pack(names->len, (const char *const *)names->pdata, data, sizes);
}

/* By way of /proc: no call takes a directory, and the file itself may be unreadable, or of a type
 * that cannot be opened. */
GBytes *dir_xattrs(int fd, const char *name)
{
	char path[NAME_MAX + 40], list[XATTR_LIST_MAX + 1];
	g_autoptr(GPtrArray) names = NULL, values = NULL;
	g_autofree char *value = NULL;
	ssize_t length;

	snprintf(path, sizeof path, "/proc/self/fd/%d/%s", fd, name);
	length = llistxattr(path, list, XATTR_LIST_MAX);
	if (length <= 0)
		return NULL;
	list[length] = '\0';
	names = g_ptr_array_new();
	values = g_ptr_array_new_with_free_func(bytes_free);
	value = g_malloc(XATTR_SIZE_MAX);
	for (char *n = list; n < list + length; n += strlen(n) + 1) {
		ssize_t size = is_kept(n) ? lgetxattr(path, n, value, XATTR_SIZE_MAX) : -1;

		if (size < 0) /* gone, or not permitted */
			continue;
		g_ptr_array_add(names, n);
		g_ptr_array_add(values, g_bytes_new(value, (size_t)size));
	}
	return pack(names, values);
}
