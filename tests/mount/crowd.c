/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Many handling and many reading threads: every read causes one event, and none is lost.
 * Usage:   crowd DIRECTORY HANDLERS READERS READS     DIRECTORY: with a file a of 20,000 bytes
 * Output:  events and reads, and on standard error the nanoseconds of one read */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fanotify.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PRE_ACCESS 0x00100000u

static int group, reads;
static char path[4096];
static atomic_int events, done;

static void *handle(void *data)
{
	char buffer[512] __attribute__((aligned(8)));
	(void)data;
	for (;;) {
		ssize_t n = read(group, buffer, sizeof(buffer));
		const struct fanotify_event_metadata *e = (void *)buffer;
		if (n < 0)
			perror("read");
		for (; n > 0 && FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n)) {
			const struct fanotify_response r = {.fd = e->fd, .response = FAN_ALLOW};
			atomic_fetch_add(&events, 1);
			if (write(group, &r, sizeof(r)) != sizeof(r))
				perror("write");
			close(e->fd);
		}
	}
	return NULL;
}

static void *look(void *data)
{
	char byte;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	(void)data;
	for (int i = 0; i < reads; i++)
		if (pread(fd, &byte, 1, i * 37 % 20000) == 1)
			atomic_fetch_add(&done, 1);
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	int handlers = atoi(argv[2]), readers = atoi(argv[3]);
	pthread_t *threads = calloc((size_t)readers, sizeof(*threads)), other;
	struct timespec from, to;
	reads = atoi(argv[4]);
	snprintf(path, sizeof(path), "%s/a", argv[1]);
	group = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC, O_RDWR | O_CLOEXEC);
	if (group < 0 || fanotify_mark(group, FAN_MARK_ADD, PRE_ACCESS, AT_FDCWD, path) != 0) {
		perror("fanotify");
		return 3;
	}
	for (int i = 0; i < handlers; i++)
		pthread_create(&other, NULL, handle, NULL);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < readers; i++)
		pthread_create(&threads[i], NULL, look, NULL);
	for (int i = 0; i < readers; i++)
		pthread_join(threads[i], NULL);
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%d events, %d reads\n", atomic_load(&events), atomic_load(&done));
	if (getenv("CROWD_TIME"))
		fprintf(stderr, "%.0f ns a read\n",
		        ((double)(to.tv_sec - from.tv_sec) * 1e9 +
		         (double)(to.tv_nsec - from.tv_nsec)) /
		                readers / reads);
	return 0;
}
