/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Scratch files: what handlers put bytes into, before these are checked and taken. In memory where
 * the file is small, else on the store's
 * disk, if holes can be told there. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fetch/store/store_private.h"

#define MEMORY_MAX (UINT64_C(64) << 20)

static bool tells_holes(int fd)
{
	return lseek(fd, 0, SEEK_DATA) < 0 && errno == ENXIO;
}

int store_scratch(struct store *s, uint64_t size)
{
	int fd = -1;
	if (size > MEMORY_MAX)
		fd = openat(s->tmp, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0 && tells_holes(fd))
		return fd;
	if (fd >= 0)
		close(fd);
	fd = memfd_create("lacunafs", MFD_CLOEXEC);
	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		return fd;
	int err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}
