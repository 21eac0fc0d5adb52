/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Preloaded into the daemon: while the file $SLOW_LOOK exists, a stat of "f" takes half a second,
 * after the attributes were read. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int fstatat64(int dir, const char *restrict name, struct stat64 *restrict st, int flags)
{
	static int (*real)(int, const char *, struct stat64 *, int);
	const char *flag = getenv("SLOW_LOOK");

	if (!real)
		real = dlsym(RTLD_NEXT, "fstatat64");
	int result = real(dir, name, st, flags);
	if (strcmp(name, "f") == 0 && flag && access(flag, F_OK) == 0)
		usleep(500000);
	return result;
}
