/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* How a daemon ends, for faulty.c. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { KILL_ONCE = 12, KILL_SYMLINK, CRASH_SYMLINK };

/* Is the call one that the mode is about? */
static int ends_worker(unsigned mode, const char *call)
{
	return mode == KILL_ONCE || (mode >= KILL_SYMLINK && strcmp(call, "symlinkat") == 0);
}

/* The keeper and, with it, its worker, which this is. */
static void daemon_kill(void)
{
	char path[40], own[256], other[256];
	ssize_t n = syscall(SYS_readlink, "/proc/self/exe", own, sizeof own), m;

	snprintf(path, sizeof path, "/proc/%d/exe", (int)getppid());
	m = syscall(SYS_readlink, path, other, sizeof other);
	if (n > 0 && n == m && memcmp(own, other, n) == 0)
		kill(getppid(), SIGKILL);
	kill(getpid(), SIGKILL);
}

/* The next worker takes over. */
static void worker_end(int crashes)
{
	if (crashes)
		abort();
	kill(getpid(), SIGKILL);
}
