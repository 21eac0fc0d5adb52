/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/version.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static bool fail(const char *path, GError **error)
{
	int code = errno;
	g_set_error(error, LOCAL_ERROR, code, "%s: %s", path, g_strerror(code));
	return false;
}

static bool head_open(const char *path, struct head *out, GError **error)
{
	char text[HEAD_SIZE + 1];
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text), 0) : -1;
	int code = errno;
	if (fd >= 0)
		close(fd);
	errno = code;
	if (n < 0)
		return fail(path, error);
	if (head_parse(text, (size_t)n, out, error))
		return true;
	g_prefix_error(error, "%s: ", path);
	return false;
}

struct index *version_open(const char *folder, struct head *out, GError **error)
{
	struct head head;
	g_autofree char *path = g_build_filename(folder, "head", NULL);
	if (!head_open(path, &head, error))
		return NULL;
	g_autofree char *name = head_index_name(&head);
	g_autofree char *file = g_build_filename(folder, name, NULL);
	int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		fail(file, error);
		return NULL;
	}
	struct index *x = index_open(fd, file, &head.root, error);
	if (x != NULL)
		*out = head;
	return x;
}
