/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/keeper/peer.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

/* Of the process in the pid namespace of /proc; <= 0: it has none there, or none any more. */
static int number_of(int process)
{
	static const char key[] = "\nPid:";
	char path[48], text[1024];
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", process);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	const char *line = strstr(text, key);
	return line ? atoi(line + strlen(key)) : 0;
}

static bool shares_namespace(int pid, const char *kind)
{
	char path[48];
	struct stat ours, theirs;
	snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
	bool known = stat(path, &ours) == 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kind);
	return known && stat(path, &theirs) == 0 && ours.st_dev == theirs.st_dev &&
	       ours.st_ino == theirs.st_ino;
}

/* Without a request to a file system in user space. */
static bool lies_on(int program, uint64_t mount)
{
	struct statx st;
	return statx(program, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &st) < 0 ||
	       makedev(st.stx_dev_major, st.stx_dev_minor) == mount;
}

/* What /proc says by the number is of this process if it lives after all that. */
static int program_open(int process, uint64_t mount, const char **why)
{
	char path[48];
	struct pollfd p = {.fd = process, .events = POLLIN};
	int pid = number_of(process);
	*why = "its process is not to be seen from here";
	if (pid <= 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	int fd = open(path, O_PATH | O_CLOEXEC);
	int err = errno;
	bool shares = shares_namespace(pid, "user") && shares_namespace(pid, "mnt");
	bool usable = false;
	if (poll(&p, 1, 0) != 0)
		*why = "its process has ended";
	else if (fd < 0)
		*why = strerror(err);
	else if (!shares)
		*why = "it runs in another user or mount namespace than the mount's keeper";
	else if (lies_on(fd, mount))
		*why = "the new program lies on this mount; run a copy from elsewhere";
	else
		usable = true;
	if (usable)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

int peer_program(int client, uint64_t mount, const char **why)
{
	struct ucred peer = {0};
	socklen_t size = sizeof(peer);
	int process = -1;
	*why = "its process is not to be seen from here";
	if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -1;
	*why = "only the user who mounted it can upgrade it";
	if (peer.uid != geteuid())
		return -1;
	*why = "its process cannot be identified";
	size = sizeof(process);
	if (getsockopt(client, SOL_SOCKET, SO_PEERPIDFD, &process, &size) < 0)
		return -1;
	int fd = program_open(process, mount, why);
	close(process);
	return fd;
}
