/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Preloaded into the daemon: punching a hole takes a second, so that other operations run
 * meanwhile. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

int fallocate64(int fd, int mode, off_t offset, off_t length)
{
	static int (*real)(int, int, off_t, off_t);

	if (!real)
		real = dlsym(RTLD_NEXT, "fallocate64");
	if (mode & FALLOC_FL_PUNCH_HOLE)
		usleep(1000000);
	return real(fd, mode, offset, length);
}
