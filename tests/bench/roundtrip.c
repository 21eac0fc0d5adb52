/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What an event costs: reads of 4 KiB that a handler in another process allows, each at once.
 * Usage:   roundtrip none|kernel|mount|idle FILE READS
 *          none: nobody is asked; kernel: fanotify(7); mount: liblacuna, mode every;
 *          idle: liblacuna, mode holes, of a file that is whole
 * Output:  ns of each read
 * Source:  kernel 6.14, include/uapi/linux/fanotify.h; older headers lack the constants
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/fanotify.h>
#include <sys/wait.h>
#include <unistd.h>
#include "clock.h"
#include "lacuna/precontent.h"

#define PRE_ACCESS 0x00100000
#define PAGE 4096

static void ready(int fd)
{
	if (write(fd, "", 1) != 1)
		err(1, "ready");
}

static void kernel_handle(const char *path, int told)
{
	static char buffer[8192] __attribute__((aligned(8)));
	int group = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC, O_RDWR | O_CLOEXEC);
	if (group < 0 || fanotify_mark(group, FAN_MARK_ADD, PRE_ACCESS, AT_FDCWD, path) != 0)
		err(1, "fanotify");
	ready(told);
	for (;;) {
		ssize_t n = read(group, buffer, sizeof(buffer));
		if (n < 0)
			err(1, "reading events");
		const struct fanotify_event_metadata *e = (void *)buffer;
		for (; FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n)) {
			struct fanotify_response answer = {.fd = e->fd, .response = FAN_ALLOW};
			if (write(group, &answer, sizeof(answer)) != sizeof(answer))
				err(1, "answering");
			close(e->fd);
		}
	}
}

static void mount_handle(const char *path, int mode, int told)
{
	const struct lacuna_options o = {.size = sizeof(o), .mode = (uint32_t)mode};
	struct lacuna_handler *h;
	struct lacuna_request *r;
	int error = lacuna_attach(path, &o, &h, NULL);
	if (error == 0)
		error = lacuna_mark(h, LACUNA_MARK_ADD, LACUNA_MARK_FILE, path);
	if (error)
		errx(1, "%s: %s", path, strerror(-error));
	ready(told);
	while (lacuna_next(h, -1, &r) == 0)
		lacuna_respond(h, r, LACUNA_ALLOW, 0);
}

int main(int argc, char **argv)
{
	int told[2];
	char byte, page[PAGE];
	long reads = argc == 4 ? strtol(argv[3], NULL, 10) : 0;
	if (reads <= 0 || pipe(told) != 0)
		errx(2, "usage: roundtrip none|kernel|mount|idle FILE READS");
	pid_t handler = strcmp(argv[1], "none") == 0 ? 0 : fork();
	if (handler == 0 && strcmp(argv[1], "none") != 0) {
		if (strcmp(argv[1], "kernel") == 0)
			kernel_handle(argv[2], told[1]);
		else
			mount_handle(argv[2],
			             strcmp(argv[1], "mount") == 0 ? LACUNA_EVERY : LACUNA_HOLES,
			             told[1]);
		return 1;
	}
	close(told[1]);
	if (handler > 0 && read(told[0], &byte, 1) != 1)
		errx(1, "no handler");
	int fd = open(argv[2], O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (size < PAGE)
		err(1, "%s", argv[2]);
	for (long n = 0; n < reads; n++) {
		int64_t began = clock_ns();
		if (pread(fd, page, PAGE, (off_t)(n % (size / PAGE)) * PAGE) != PAGE)
			err(1, "reading");
		printf("%lld\n", (long long)(clock_ns() - began));
	}
	if (handler > 0) {
		kill(handler, SIGTERM);
		waitpid(handler, NULL, 0);
	}
	return 0;
}
