/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/daemon/rlimits.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* fs.nr_open: no process may have more, not even root's. 0: unknown. */
static rlim_t descriptors_most(void)
{
	char text[32];
	int fd = open("/proc/sys/fs/nr_open", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	text[MAX(n, 0)] = '\0';
	return strtoull(text, NULL, 10);
}

/* Raises the limit to `most`, which takes CAP_SYS_RESOURCE, or as far as the shell's limit allows.
 * Returns the result. */
static rlim_t raise_to(int resource, rlim_t most)
{
	struct rlimit limit;
	if (getrlimit(resource, &limit) < 0)
		return most;
	struct rlimit more = {MAX(most, limit.rlim_max), MAX(most, limit.rlim_max)};
	if (setrlimit(resource, &more) == 0)
		return more.rlim_cur;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(resource, &limit) < 0)
		g_message("cannot raise a limit: %s", g_strerror(errno));
	return limit.rlim_cur;
}

uint64_t rlimits_descriptors(void)
{
	struct rlimit limit;
	return getrlimit(RLIMIT_NOFILE, &limit) < 0 ? 1024 : limit.rlim_cur;
}

void rlimits_raise(void)
{
	signal(SIGXFSZ, SIG_IGN);
	raise_to(RLIMIT_NOFILE, descriptors_most());
	rlim_t size = raise_to(RLIMIT_FSIZE, RLIM_INFINITY);
	if (size != RLIM_INFINITY)
		g_message("files are limited to %" G_GUINT64_FORMAT " bytes by the file size limit "
		          "(ulimit -f) of the mounting process",
		          (guint64)size);
}
