/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Source:  proc(5), /proc/PID/mountinfo and /proc/PID/fdinfo */
#include "lib/hsm/mounts.h"
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int mount_id(int fd)
{
	char name[64], line[256];
	int id = -1;
	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", fd);
	FILE *f = fopen(name, "re");
	if (!f)
		return -errno;
	while (id < 0 && fgets(line, sizeof(line), f))
		sscanf(line, "mnt_id: %d", &id);
	fclose(f);
	return id < 0 ? -EIO : id;
}

/* mountinfo has blanks, tabs, newlines and backslashes as three octal digits. */
static char *unescape(const char *text, size_t length)
{
	char *out = malloc(length + 1), *to = out;
	for (size_t i = 0; out && i < length; i++) {
		if (text[i] == '\\' && length - i > 3) {
			*to++ = (char)((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
			               (text[i + 3] - '0'));
			i += 3;
		} else {
			*to++ = text[i];
		}
	}
	if (out)
		*to = '\0';
	return out;
}

/* 36 35 98:0 /root /point rw,noatime … */
static bool line_parse(const char *line, int id, char **point, char **root)
{
	int of, at = 0;
	if (sscanf(line, "%d %*d %*u:%*u %n", &of, &at) != 1 || of != id || at == 0)
		return false;
	size_t length = strcspn(line + at, " ");
	const char *second = line + at + length + 1;
	if (line[at + length] != ' ')
		return false;
	*root = unescape(line + at, length);
	*point = unescape(second, strcspn(second, " "));
	return true;
}

int mount_of(int fd, char **point, char **root)
{
	char *line = NULL;
	size_t size = 0;
	int id = mount_id(fd), r = -ENOENT;
	if (id < 0)
		return id;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return -errno;
	*point = *root = NULL;
	while (r == -ENOENT && getline(&line, &size, f) > 0)
		if (line_parse(line, id, point, root))
			r = *point && *root ? 0 : -ENOMEM;
	fclose(f);
	free(line);
	if (r < 0) {
		free(*point);
		free(*root);
	}
	return r;
}
