/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/store/entries.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int entries_foreach(int fd, entries_each each, void *user)
{
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	int err = fd < 0 ? fd : d ? 0 : -errno;

	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return err;
	}
	while (err == 0) {
		struct dirent *e;

		errno = 0;
		e = readdir(d);
		if (e == NULL) {
			err = -errno;
			break;
		}
		if (!is_dots(e->d_name))
			err = each(fd, e, user);
	}
	closedir(d);
	return err;
}
