/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/store/disk/entries.h"
#include <errno.h>

int entries_foreach(int fd, entries_each each, void *user)
{
	struct dirents *d;
	struct dirent *e;
	int err, more;

	if (fd < 0)
		return fd;
	d = dirents_new(fd);
	do {
		more = dirents_next(d, &e);
		err = more > 0 ? each(fd, e, user) : more;
	} while (err == 0 && more > 0);
	dirents_free(d);
	return more == -ENOENT ? 0 : err; /* removed meanwhile: nothing is in it */
}
