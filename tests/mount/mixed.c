/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One group for files of a local file system and of a mount, and for more than pre-content events.
 * Usage:   mixed LOCAL MOUNT     each with a file a of 20,000 bytes
 * Output:  a line for each call and each event */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/wait.h>
#include <unistd.h>

#define PRE_ACCESS 0x00100000u

static int group;

static void told(const char *what, long r)
{
	if (r < 0)
		printf("%s: %s\n", what, strerrorname_np(errno));
	else
		printf("%s: %ld\n", what, r);
	fflush(stdout);
}

static void event_answer(const struct fanotify_event_metadata *e)
{
	char link[64], path[4096] = "", byte;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", e->fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	const struct fanotify_response r = {.fd = e->fd, .response = FAN_ALLOW};
	printf("event %#llx of %s, %u bytes", (unsigned long long)e->mask, n < 0 ? "?" : path,
	       e->event_len);
	printf(", reads %zd", pread(e->fd, &byte, 1, 0));
	printf(", answered %zd\n", write(group, &r, sizeof(r)));
	fflush(stdout);
	close(e->fd);
}

/* Reads the file in another process, and answers the events meanwhile. */
static void file_read(const char *path)
{
	char buffer[4096] __attribute__((aligned(8))), byte;
	struct pollfd p = {.fd = group, .events = POLLIN};
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open(path, O_RDONLY);
		_exit(fd >= 0 && pread(fd, &byte, 1, 5000) == 1 ? 0 : errno);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (poll(&p, 1, 10) <= 0)
			continue;
		ssize_t n = read(group, buffer, sizeof(buffer));
		const struct fanotify_event_metadata *e = (void *)buffer;
		for (; n > 0 && FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n))
			event_answer(e);
	}
	told("read", WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
	char files[2][4096];
	if (argc != 3)
		return 2;
	group = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC, O_RDONLY | O_CLOEXEC);
	told("group", group < 0 ? -1 : 0);
	for (int i = 0; i < 2; i++) {
		snprintf(files[i], sizeof(files[i]), "%s/a", argv[1 + i]);
		told("marked", fanotify_mark(group, FAN_MARK_ADD, PRE_ACCESS | FAN_OPEN_PERM,
		                             AT_FDCWD, files[i]));
		told("and less",
		     fanotify_mark(group, FAN_MARK_ADD, PRE_ACCESS, AT_FDCWD, files[i]));
	}
	file_read(files[0]);
	file_read(files[1]);
	for (int i = 0; i < 2; i++)
		told("opens no more",
		     fanotify_mark(group, FAN_MARK_REMOVE, FAN_OPEN_PERM, AT_FDCWD, files[i]));
	file_read(files[0]);
	file_read(files[1]);
	told("flushed", fanotify_mark(group, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL));
	file_read(files[0]);
	file_read(files[1]);
	return 0;
}
