/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* remote-fetch [--whole] MOUNT SOURCE: a handler that supplies the content of the files in MOUNT, a
 * mount of populate's stubs, from the directory SOURCE, range by range as processes read.
 * --whole: supplies a whole file at the file's first event, which is then its last: in mode holes
 * present data causes no events. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lacuna/precontent.h"

static struct lacuna_handler *handler;

static void on_signal(int number)
{
	lacuna_stop(handler);
}

static int copy(int from, int to, off_t at, off_t end)
{
	static char buffer[1 << 18];
	while (at < end) {
		size_t want =
		        end - at < (off_t)sizeof(buffer) ? (size_t)(end - at) : sizeof(buffer);
		ssize_t n = pread(from, buffer, want, at);
		if (n <= 0) /* 0: the source file has become shorter */
			return -EIO;
		if (pwrite(to, buffer, (size_t)n, at) != n)
			return -ENOSPC;
		at += n;
	}
	return 0;
}

/* 0, or the -errno to deny with. A stub whose size differs from the file's is outdated. */
static int bring(int source, const struct lacuna_request *r, int whole)
{
	struct stat st;
	off_t size = (off_t)r->size, at = whole ? 0 : (off_t)r->offset;
	off_t end = whole || at + (off_t)r->length > size ? size : at + (off_t)r->length;
	int fd = openat(source, r->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -EIO;
	int error = fstat(fd, &st) != 0 || st.st_size != size ? -EIO : copy(fd, r->fd, at, end);
	close(fd);
	return error;
}

static int answer_one(int source, struct lacuna_request *r, int whole)
{
	uint64_t ino = r->ino;
	int error = bring(source, r, whole);
	if (error)
		fprintf(stderr, "remote-fetch: %s: %s\n", r->path, strerror(-error));
	int sent = lacuna_respond(handler, r, error ? LACUNA_DENY : LACUNA_ALLOW, -error);
	if (sent != 0 || error || !whole)
		return sent;
	/* After the answer: an ignored file is served by the stub, which has only zeros */
	return lacuna_mark_ino(handler, LACUNA_MARK_ADD | LACUNA_MARK_IGNORE, LACUNA_MARK_FILE,
	                       ino);
}

int main(int argc, char **argv)
{
	int whole = argc == 4 && strcmp(argv[1], "--whole") == 0;
	const struct lacuna_options options = {.size = sizeof(options), .name = "remote-fetch"};
	if (argc != 3 + whole) {
		fprintf(stderr, "usage: remote-fetch [--whole] MOUNT SOURCE\n");
		return 2;
	}
	int source = open(argv[argc - 1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (source < 0) {
		perror(argv[argc - 1]);
		return 1;
	}
	int r = lacuna_attach(argv[argc - 2], &options, &handler, NULL);
	if (r == 0) {
		signal(SIGTERM, on_signal);
		signal(SIGINT, on_signal);
		r = lacuna_mark(handler, LACUNA_MARK_ADD, LACUNA_MARK_MOUNT, NULL);
	}
	if (r == 0) {
		printf("ready\n");
		fflush(stdout);
	}
	for (struct lacuna_request *request; r == 0;) {
		r = lacuna_next(handler, -1, &request);
		if (r == 0)
			r = answer_one(source, request, whole);
	}
	/* Detaching would leave reads to the stubs: as lost, they wait for the next handler */
	lacuna_close(handler, 1);
	if (r == -ESHUTDOWN || r == -ECONNRESET) /* a signal; the mount ended */
		return 0;
	fprintf(stderr, "remote-fetch: %s\n", strerror(-r));
	return 1;
}
