/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Scratch files: handlers write data to them, which is then checked and stored. A small one is in
 * memory, others are on the store's disk, if that reports holes. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fetch/store/disk/store_private.h"

#define MEMORY_MAX (UINT64_C(64) << 20)
#define MEMORY_PROBE (UINT64_C(4) << 20) /* two huge pages */

static bool tells_holes(int fd)
{
	return lseek(fd, 0, SEEK_DATA) < 0 && errno == ENXIO;
}

/* If the system gives memory files huge pages, one written page brings 511 more. */
static bool memory_is_coarse; /* fixed from the first use on */

static void memory_probe(void)
{
	char byte = 1;
	off_t page = sysconf(_SC_PAGESIZE), middle = (off_t)MEMORY_PROBE / 2 + page;
	int fd = memfd_create("lacunafs", MFD_CLOEXEC);
	memory_is_coarse = fd < 0 || ftruncate(fd, (off_t)MEMORY_PROBE) != 0 ||
	                   pwrite(fd, &byte, 1, middle) != 1 || lseek(fd, 0, SEEK_DATA) != middle ||
	                   lseek(fd, middle, SEEK_HOLE) != middle + page;
	if (fd >= 0)
		close(fd);
}

int store_scratch(struct store *s, uint64_t size)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int fd = -1;
	pthread_once(&once, memory_probe);
	if (size > MEMORY_MAX || memory_is_coarse)
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
