/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A typical handler for fanotify(7): supplies the requested data from another directory, and
 * ignores further events of a file once all of it is supplied.
 * Usage:   populate FROM TO [SECONDS]     TO: a mount point; SECONDS: slept over the first event
 * Output:  a line for each event, "path offset count"; "whole path"; "ready" first
 * Ends:    at SIGTERM */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define PRE_ACCESS 0x00100000
#define DENY_ERRNO(e) (FAN_DENY | (uint32_t)(e) << 24)

struct range {
	struct fanotify_event_info_header header;
	uint32_t pad;
	uint64_t offset, count;
};

static volatile sig_atomic_t ended;
static const char *from, *to;

static void end(int number)
{
	(void)number;
	ended = 1;
}

static int bring(int group, int fd, off_t offset, size_t count)
{
	char link[64], path[4096] = "", source[8192];
	struct stat st;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, path, sizeof(path) - 1) < 0 || strncmp(path, to, strlen(to)) != 0)
		return EIO;
	printf("%s %lld %zu\n", path + strlen(to), (long long)offset, count);
	snprintf(source, sizeof(source), "%s%s", from, path + strlen(to));
	int in = open(source, O_RDONLY | O_CLOEXEC);
	if (in < 0 || fstat(fd, &st) != 0)
		return EIO;
	int whole = offset == 0 && (off_t)count >= st.st_size;
	for (off_t at = offset, out = offset; count > 0;) {
		ssize_t n = copy_file_range(in, &at, fd, &out, count, 0);
		if (n < 0)
			return errno;
		if (n == 0)
			break;
		count -= (size_t)n;
	}
	close(in);
	if (whole &&
	    fanotify_mark(group,
	                  FAN_MARK_ADD | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY,
	                  PRE_ACCESS, AT_FDCWD, path) == 0)
		printf("whole %s\n", path + strlen(to));
	return 0;
}

int main(int argc, char **argv)
{
	char buffer[4096] __attribute__((aligned(8)));
	struct sigaction a = {.sa_handler = end};
	if (argc < 3)
		return 2;
	from = argv[1], to = argv[2];
	sigaction(SIGTERM, &a, NULL);
	int group = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC | FAN_UNLIMITED_QUEUE,
	                          O_RDWR | O_LARGEFILE);
	if (group < 0 ||
	    fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_MOUNT, PRE_ACCESS, AT_FDCWD, to) != 0) {
		perror("fanotify");
		return 3;
	}
	unsigned pause = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
	puts("ready");
	fflush(stdout);
	while (!ended) {
		ssize_t n = read(group, buffer, sizeof(buffer));
		const struct fanotify_event_metadata *e = (void *)buffer;
		for (; n > 0 && FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n)) {
			const struct range *r = (const void *)(e + 1);
			sleep(pause);
			pause = 0;
			int error = bring(group, e->fd, (off_t)r->offset, r->count);
			struct fanotify_response response = {
			        .fd = e->fd, .response = error ? DENY_ERRNO(error) : FAN_ALLOW};
			if (write(group, &response, sizeof(response)) != sizeof(response))
				perror("answering");
			close(e->fd);
		}
		fflush(stdout);
	}
	return 0;
}
