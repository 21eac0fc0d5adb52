/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/inode/exec_writes.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Since Linux 6.3; without it the kernel complains. */
#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

/* The errno of executing a file that is open for writing and no program: the kernel checks for
 * ETXTBSY before ENOEXEC. */
static int probe(void)
{
	static const char text[] = "neither ELF nor script";
	int fd = memfd_create("exec_writes", MFD_CLOEXEC | MFD_EXEC);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("exec_writes", MFD_CLOEXEC);
	if (fd < 0)
		return errno;
	char path[sizeof("/proc/self/fd/") + 11];
	g_snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/* The kernel does not count a memfd's own descriptor as a writer. */
	int writer = open(path, O_WRONLY | O_CLOEXEC);
	int err = writer < 0 ? errno : 0;
	if (!err && write(writer, text, sizeof(text) - 1) < 0)
		err = errno;
	if (!err) {
		char *argv[] = {(char *)"exec_writes", NULL}, *envp[] = {NULL};
		pid_t pid;
		err = posix_spawn(&pid, path, NULL, NULL, argv, envp);
		if (!err)
			waitpid(pid, NULL, 0);
	}
	if (writer >= 0)
		close(writer);
	close(fd);
	return err;
}

enum exec_writes exec_writes_policy(bool allow)
{
	if (allow)
		return EXEC_WRITES_ALLOW;
	return probe() == ENOEXEC ? EXEC_WRITES_DENY : EXEC_WRITES_KERNEL;
}
