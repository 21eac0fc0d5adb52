/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Usage: events mount|file|parent DIRECTORY [ROW]     mount, file, parent: the marked object
 *        events --names                              the rows, and the file of each
 * DIRECTORY has the file of each row */
#include "events.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PRE_ACCESS 0x00100000
#define PATIENCE_MS 15000

struct info { /* of a pre-content event */
	uint8_t type, pad;
	uint16_t length;
	uint32_t reserved;
	uint64_t offset, count;
};

static void die(const char *what)
{
	perror(what);
	exit(3);
}

static void path_of(const struct row *r, const char *directory, char *out, size_t size)
{
	snprintf(out, size, "%s/%s", directory, r->name);
}

/* The child: 'p' prepares, 'r' runs; it answers with the result. */
static void child_main(int control, const char *directory)
{
	char message[2], path[4096];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(control, message, 2) == 2) {
		const struct row *r = &rows[(unsigned char)message[1]];
		long answer = 0;
		path_of(r, directory, path, sizeof(path));
		if (message[0] == 'r')
			answer = r->run(path);
		else if (r->prepare)
			answer = r->prepare(path);
		if (write(control, &answer, sizeof(answer)) != sizeof(answer))
			break;
	}
	_exit(0);
}

/* Is it about the row's own file, by its name? */
static int names_file(int fd, const char *name)
{
	char link[64], path[4096];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return 0;
	path[n] = '\0';
	const char *slash = strrchr(path, '/');
	return slash && strcmp(slash + 1, name) == 0;
}

static void answer_one(int group, const struct fanotify_event_metadata *e, const struct row *r,
                       unsigned *given, pid_t child)
{
	const struct info *info = (const struct info *)((const char *)e + e->metadata_len);
	printf(" ");
	if (e->mask != PRE_ACCESS || e->event_len != 48 || e->vers != 3 || info->type != 6 ||
	    info->length != 24 || e->fd < 0)
		printf("*");
	if (e->pid != child && strcmp(r->name, "program") != 0 && strcmp(r->name, "script") != 0 &&
	    strcmp(r->name, "program EIO") != 0)
		printf("(pid %d)", e->pid - child);
	if (!names_file(e->fd, r->name))
		printf("(another file)");
	printf("%llu+%llu", (unsigned long long)info->offset, (unsigned long long)info->count);
	for (ssize_t n = -1; n < 0;) {
		uint32_t verdict = *given < 4 ? r->answers[(*given)++] : 0;
		struct fanotify_response a = {.fd = e->fd,
		                              .response = verdict ? verdict : FAN_ALLOW};
		n = write(group, &a, sizeof(a));
		if (n < 0)
			printf("!%s", strerrorname_np(errno));
		else if (a.response & FAN_DENY)
			printf("-%s", a.response >> 24 ? strerrorname_np((int)(a.response >> 24))
			                               : "deny");
		else
			printf("=ok");
	}
	close(e->fd);
}

static void events_answer(int group, const struct row *r, unsigned *given, pid_t child)
{
	char buffer[4096] __attribute__((aligned(8)));
	ssize_t n = read(group, buffer, sizeof(buffer));
	if (n < 0)
		die("reading events");
	const struct fanotify_event_metadata *e = (void *)buffer;
	for (; FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n))
		answer_one(group, e, r, given, child);
}

static long row_step(int group, int control, const struct row *r, char what, pid_t child)
{
	struct pollfd fds[2] = {{.fd = group, .events = POLLIN}, {.fd = control, .events = POLLIN}};
	const char message[2] = {what, (char)(r - rows)};
	unsigned given = 0;
	long answer = 0;
	if (write(control, message, 2) != 2)
		die("the child");
	for (;;) {
		int n = poll(fds, 2, PATIENCE_MS);
		if (n <= 0) {
			printf(" hangs");
			exit(4);
		}
		if (fds[0].revents)
			events_answer(group, r, &given, child);
		else if (read(control, &answer, sizeof(answer)) == sizeof(answer))
			return answer;
		else
			die("the child");
	}
}

static void row_mark(int group, const char *how, const char *directory, const char *path, int on)
{
	unsigned flags = on ? FAN_MARK_ADD : FAN_MARK_REMOVE;
	uint64_t mask = PRE_ACCESS;
	if (strcmp(how, "mount") == 0)
		flags |= FAN_MARK_MOUNT;
	else if (strcmp(how, "parent") == 0)
		mask |= FAN_EVENT_ON_CHILD;
	if (fanotify_mark(group, flags, mask, AT_FDCWD,
	                  strcmp(how, "file") == 0 ? path : directory) != 0 &&
	    on)
		die("fanotify_mark");
}

static void row_run(const struct row *r, int group, int control, pid_t child, const char *how,
                    const char *directory)
{
	char path[4096];
	path_of(r, directory, path, sizeof(path));
	printf("%s |", r->name);
	if (r->prepare && row_step(group, control, r, 'p', child) != 0)
		printf(" unprepared");
	row_mark(group, how, directory, path, 1);
	if (r->before)
		r->before(group, path);
	long answer = row_step(group, control, r, 'r', child);
	row_mark(group, how, directory, path, 0);
	if (answer < 0)
		printf(" | %s\n", strerrorname_np((int)-answer));
	else
		printf(" | %ld\n", answer);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int pair[2];
	setvbuf(stdout, NULL, _IOFBF, 65536);
	if (argc == 2) {
		for (unsigned i = 0; i < row_count; i++)
			puts(rows[i].name);
		return 0;
	}
	if (argc < 3 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return 2;
	pid_t child = fork();
	if (child == 0) {
		close(pair[0]);
		child_main(pair[1], argv[2]);
	}
	close(pair[1]);
	int group = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC, O_RDONLY | O_CLOEXEC);
	if (group < 0)
		die("fanotify_init");
	for (unsigned i = 0; i < row_count; i++)
		if (argc == 3 || strcmp(argv[3], rows[i].name) == 0)
			row_run(&rows[i], group, pair[0], child, argv[1], argv[2]);
	close(pair[0]);
	waitpid(child, NULL, 0);
	close(group);
	return 0;
}
