/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "lib/hsm/abi.h"
#include "lib/hsm/hsm.h"

/* Replaces the kernel's descriptor by a read-only one of an empty file: the kernel's opens the file
 * in the mount, and a handler that reads a file it watches would wait for itself. */
static void descriptor_shield(int fd, const struct stat *st)
{
	char link[32], path[4096];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = real()->readlink(link, path, sizeof(path) - 1);
	int scratch = memfd_create("lacunafs-hsm", MFD_CLOEXEC);
	if (n < 0 || scratch < 0 || ftruncate(scratch, st->st_size) != 0) {
		if (scratch >= 0)
			real()->close(scratch);
		return;
	}
	path[n] = '\0';
	snprintf(link, sizeof(link), "/proc/self/fd/%d", scratch);
	int shown = real()->open(link, O_RDONLY | O_CLOEXEC);
	if (shown >= 0) {
		int on_exec = real()->fcntl(fd, F_GETFD);
		real()->dup3(shown, fd, on_exec & FD_CLOEXEC ? O_CLOEXEC : 0);
		real()->close(shown);
		struct file *f = file_put_path(fd, st->st_dev, st->st_ino, strdup(path));
		if (f)
			file_unref(f);
	}
	real()->close(scratch);
}

ssize_t kernel_read(struct group *g, void *buffer, size_t size)
{
	struct stat st;
	ssize_t n = real()->read(g->kernel, buffer, size), left = n;
	if (n < 0)
		return -errno;
	const struct fanotify_event_metadata *e = buffer;
	for (; FAN_EVENT_OK(e, left); e = FAN_EVENT_NEXT(e, left)) {
		if (e->fd < 0 || real()->fstat(e->fd, &st) != 0)
			continue;
		table_set(e->fd, (struct entry){.kind = ENTRY_NONE});
		const struct connection *c = connection_find(g, st.st_dev);
		if (c && S_ISREG(st.st_mode) && connection_watches(c, st.st_ino))
			descriptor_shield(e->fd, &st);
	}
	return n;
}
