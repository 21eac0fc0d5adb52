/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* fanotify's calls, as a handler of pre-content events makes them, and how each ends: run on a
 * local file system with the kernel's events, and on a mount.
 * Usage:   calls DIRECTORY     DIRECTORY: a mount point, with files a and b of 20,000 bytes, a
 *          directory d with a file c, a symbolic link l, a fifo p
 * Output:  a line each: "call: how it ended" */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PRE_ACCESS 0x00100000u

static const char *top;
static char path_a[4096], path_b[4096];

static void told(const char *what, long r)
{
	if (r < 0)
		printf("%s: %s\n", what, strerrorname_np(errno));
	else
		printf("%s: %ld\n", what, r);
	fflush(stdout);
}

static int group_new(unsigned flags, unsigned event_flags)
{
	int g = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC | flags, event_flags);
	if (g < 0) {
		perror("fanotify_init");
		exit(3);
	}
	return g;
}

static void init_calls(void)
{
	static const unsigned flags[] = {0,
	                                 FAN_NONBLOCK,
	                                 FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS,
	                                 FAN_REPORT_TID,
	                                 FAN_REPORT_PIDFD,
	                                 FAN_REPORT_PIDFD | FAN_REPORT_TID,
	                                 FAN_REPORT_FID,
	                                 FAN_REPORT_DFID_NAME,
	                                 0x2000,
	                                 0x4000,
	                                 0x8000,
	                                 0x80000000,
	                                 FAN_CLASS_CONTENT};
	static const unsigned event_flags[] = {O_RDONLY,
	                                       O_WRONLY,
	                                       O_RDWR,
	                                       3,
	                                       O_RDWR | O_CLOEXEC,
	                                       O_RDWR | 0100000,
	                                       O_RDWR | O_NOATIME | O_SYNC,
	                                       O_RDWR | O_CREAT,
	                                       O_RDWR | O_TRUNC,
	                                       O_DIRECT,
	                                       O_PATH,
	                                       O_APPEND | O_NONBLOCK | O_RDWR,
	                                       0x20};
	char what[64];
	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		int g = fanotify_init(FAN_CLASS_PRE_CONTENT | flags[i], O_RDWR);
		snprintf(what, sizeof(what), "init %#x", flags[i]);
		told(what, g < 0 ? g : 0);
		close(g);
	}
	for (size_t i = 0; i < sizeof(event_flags) / sizeof(*event_flags); i++) {
		int g = fanotify_init(FAN_CLASS_PRE_CONTENT, event_flags[i]);
		snprintf(what, sizeof(what), "init event %#x", event_flags[i]);
		told(what, g < 0 ? g : 0);
		close(g);
	}
}

struct mark_call {
	unsigned flags;
	uint64_t mask;
	const char *path; /* relative to the directory; NULL: by descriptor alone */
};

#define ADD FAN_MARK_ADD
#define REMOVE FAN_MARK_REMOVE
#define FLUSH FAN_MARK_FLUSH
#define MOUNT FAN_MARK_MOUNT
#define IGNORED FAN_MARK_IGNORED_MASK
#define IGNORE 0x400
#define SURVIVES FAN_MARK_IGNORED_SURV_MODIFY
#define EVICTABLE 0x200

static const struct mark_call mark_calls[] = {
        {ADD, PRE_ACCESS, "a"},
        {ADD, PRE_ACCESS, "a"},
        {REMOVE, PRE_ACCESS, "a"},
        {REMOVE, PRE_ACCESS, "a"},
        {REMOVE, PRE_ACCESS, "b"},
        {ADD, PRE_ACCESS, "none"},
        {ADD, PRE_ACCESS, ""},
        {ADD, PRE_ACCESS, NULL},
        {REMOVE, PRE_ACCESS, NULL},
        {ADD, PRE_ACCESS, "d"},
        {ADD, PRE_ACCESS | FAN_EVENT_ON_CHILD, "d"},
        {REMOVE, FAN_EVENT_ON_CHILD, "d"},
        {REMOVE, PRE_ACCESS, "d"},
        {REMOVE, PRE_ACCESS, "d"},
        {ADD, PRE_ACCESS | FAN_ONDIR, "d"},
        {ADD, FAN_OPEN | FAN_ONDIR, "d"},
        {ADD, PRE_ACCESS, "d"},
        {REMOVE, FAN_OPEN | FAN_ONDIR, "d"},
        {ADD, PRE_ACCESS, "l"},
        {REMOVE, PRE_ACCESS, "a"},
        {ADD | FAN_MARK_DONT_FOLLOW, PRE_ACCESS, "l"},
        {ADD, PRE_ACCESS, "p"},
        {ADD, FAN_OPEN_PERM, "p"},
        {REMOVE, FAN_OPEN_PERM, "p"},
        {ADD | FAN_MARK_ONLYDIR, PRE_ACCESS, "a"},
        {ADD | FAN_MARK_ONLYDIR, PRE_ACCESS, "d"},
        {REMOVE | FAN_MARK_ONLYDIR, PRE_ACCESS, "d"},
        {ADD, 0, "a"},
        {0, PRE_ACCESS, "a"},
        {ADD | REMOVE, PRE_ACCESS, "a"},
        {ADD, 1ull << 40, "a"},
        {ADD, 1u << 19, "a"},
        {ADD, 1u << 21, "a"},
        {ADD | 0x1000, PRE_ACCESS, "a"},
        {ADD, FAN_CREATE, "d"},
        {ADD, FAN_ATTRIB, "a"},
        {ADD, 0x01000000, "a"},
        {ADD | 0x110, PRE_ACCESS, "a"},
        {ADD, FAN_Q_OVERFLOW, "a"},
        {ADD | MOUNT, PRE_ACCESS, "a"},
        {ADD | MOUNT, PRE_ACCESS, ""},
        {REMOVE | MOUNT, PRE_ACCESS, "b"},
        {REMOVE | MOUNT, PRE_ACCESS, "b"},
        {ADD | FAN_MARK_FILESYSTEM | EVICTABLE, PRE_ACCESS, "a"},
        {ADD | IGNORED, PRE_ACCESS, "a"},
        {REMOVE, PRE_ACCESS, "a"},
        {REMOVE | IGNORED, PRE_ACCESS, "a"},
        {REMOVE | IGNORED, PRE_ACCESS, "a"},
        {ADD | IGNORED | IGNORE, PRE_ACCESS, "a"},
        {ADD | IGNORE, PRE_ACCESS, "a"},
        {ADD | IGNORED, PRE_ACCESS, "a"},
        {ADD | IGNORE | SURVIVES, PRE_ACCESS, "a"},
        {ADD | IGNORE, PRE_ACCESS, "a"},
        {REMOVE | IGNORE, PRE_ACCESS, "a"},
        {ADD | IGNORE, PRE_ACCESS, "d"},
        {ADD | IGNORE | MOUNT, PRE_ACCESS, "d"},
        {ADD | IGNORE | SURVIVES, PRE_ACCESS | FAN_EVENT_ON_CHILD, "a"},
        {ADD | IGNORE | SURVIVES, PRE_ACCESS | FAN_EVENT_ON_CHILD, "d"},
        {REMOVE | IGNORE | SURVIVES, PRE_ACCESS | FAN_EVENT_ON_CHILD, "d"},
        {ADD | EVICTABLE, PRE_ACCESS, "b"},
        {ADD, PRE_ACCESS, "b"},
        {ADD | EVICTABLE, PRE_ACCESS, "b"},
        {FLUSH | ADD, 0, "a"},
        {FLUSH | SURVIVES, 0, "a"},
        {FLUSH, 1u << 19, "a"},
        {FLUSH, 0, "none"},
        {REMOVE, PRE_ACCESS, "b"},
        {FLUSH | MOUNT, 0, ""},
};

static void mark_all(void)
{
	char path[4200], what[128];
	int g = group_new(0, O_RDONLY), d = open(path_a, O_RDONLY);
	for (size_t i = 0; i < sizeof(mark_calls) / sizeof(*mark_calls); i++) {
		const struct mark_call *c = &mark_calls[i];
		snprintf(path, sizeof(path), "%s/%s", top, c->path ? c->path : "");
		snprintf(what, sizeof(what), "mark %#x %#llx %s", c->flags,
		         (unsigned long long)c->mask, c->path ? c->path : "(descriptor)");
		told(what, fanotify_mark(g, c->flags, c->mask, c->path ? AT_FDCWD : d,
		                         c->path ? path : NULL));
	}
	told("mark by no descriptor", fanotify_mark(g, ADD, PRE_ACCESS, AT_FDCWD, NULL));
	told("mark by a bad one", fanotify_mark(g, ADD, PRE_ACCESS, 987, NULL));
	told("mark below a bad one", fanotify_mark(g, ADD, PRE_ACCESS, 987, "a"));
	told("mark of no group", fanotify_mark(d, ADD, PRE_ACCESS, AT_FDCWD, path_a));
	told("mark of nothing", fanotify_mark(987, ADD, PRE_ACCESS, AT_FDCWD, path_a));
	close(d);
	d = open(top, O_RDONLY | O_DIRECTORY);
	told("mark by a directory", fanotify_mark(g, ADD, PRE_ACCESS, d, "a"));
	told("mark by syscall", syscall(SYS_fanotify_mark, g, REMOVE, (long)PRE_ACCESS, d, "a"));
	close(d);
	close(g);
	told("mark after close", fanotify_mark(g, ADD, PRE_ACCESS, AT_FDCWD, path_a));
	g = fanotify_init(FAN_CLASS_CONTENT, O_RDONLY);
	told("mark of a content group", fanotify_mark(g, ADD, PRE_ACCESS, AT_FDCWD, path_a));
	close(g);
}

/* A thread that reads a byte at `offset`; reader_end() prints how it ended, in order. */
struct reader {
	pthread_t thread;
	const char *path;
	off_t offset;
	long result;
	int tid;
};

static void *reader_main(void *data)
{
	struct reader *r = data;
	char byte;
	int fd = open(r->path, O_RDONLY | O_CLOEXEC);
	r->tid = (int)syscall(SYS_gettid);
	r->result = pread(fd, &byte, 1, r->offset) < 0 ? -errno : 1;
	close(fd);
	return NULL;
}

static struct reader *reader_new(const char *path, off_t offset)
{
	struct reader *r = calloc(1, sizeof(*r));
	*r = (struct reader){.path = path, .offset = offset};
	pthread_create(&r->thread, NULL, reader_main, r);
	return r;
}

static void reader_end(const char *what, struct reader *r)
{
	pthread_join(r->thread, NULL);
	errno = (int)-r->result;
	told(what, r->result < 0 ? -1 : r->result);
	free(r);
}

static int wait_readable(int g, int seconds)
{
	struct pollfd p = {.fd = g, .events = POLLIN};
	return poll(&p, 1, seconds * 1000);
}

/* For two that read to get there. */
static void wait_two(int g)
{
	int n = 0;
	usleep(300000);
	ioctl(g, FIONREAD, &n);
	told("bytes of two", n);
}

static struct fanotify_event_metadata *event_read(int g)
{
	static char buffer[4096] __attribute__((aligned(8)));
	ssize_t n = read(g, buffer, sizeof(buffer));
	told("read", n);
	return n > 0 ? (void *)buffer : NULL;
}

static void respond(const char *what, int g, int fd, uint32_t response)
{
	struct fanotify_response r = {.fd = fd, .response = response};
	told(what, write(g, &r, sizeof(r)));
}

static void read_calls(void)
{
	char small[40];
	int g = group_new(FAN_NONBLOCK, O_RDONLY | O_CLOEXEC);
	fanotify_mark(g, ADD, PRE_ACCESS, AT_FDCWD, path_a);
	told("poll, nothing", wait_readable(g, 0));
	told("read, nothing", read(g, small, sizeof(small)));
	told("read, too small", read(g, small, 0));
	struct reader *r = reader_new(path_a, 5000), *second;
	told("poll", wait_readable(g, 10));
	told("read, too small", read(g, small, sizeof(small)));
	told("read, too small", read(g, small, 0));
	told("poll", wait_readable(g, 0));
	second = reader_new(path_a, 9000);
	wait_two(g);
	struct epoll_event out, in = {.events = EPOLLIN};
	int e = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(e, EPOLL_CTL_ADD, g, &in);
	told("epoll", epoll_wait(e, &out, 1, 0));
	fd_set set;
	struct timeval now = {0, 0};
	FD_ZERO(&set);
	FD_SET(g, &set);
	told("select", select(g + 1, &set, NULL, NULL, &now));
	struct fanotify_event_metadata *m = event_read(g), *n = (void *)((char *)m + m->event_len);
	told("epoll", epoll_wait(e, &out, 1, 0));
	told("read, nothing more", read(g, small, sizeof(small)));
	close(e);
	int fd = n->fd;
	respond("answer the second", g, fd, FAN_ALLOW);
	respond("again", g, fd, FAN_ALLOW);
	close(m->fd);
	respond("answer, closed", g, m->fd, FAN_DENY);
	close(fd);
	reader_end("the first", r);
	reader_end("the second", second);
	close(g);
}

static void answer_calls(void)
{
	int g = group_new(0, O_RDONLY | O_CLOEXEC);
	struct fanotify_response two[3] = {{-1, FAN_ALLOW}, {9876, FAN_ALLOW}, {0, 0}};
	fanotify_mark(g, ADD | MOUNT, PRE_ACCESS, AT_FDCWD, top);
	told("answer, none", write(g, &two[1], sizeof(*two)));
	told("answer, no descriptor", write(g, &two[0], sizeof(*two)));
	told("answer, short", write(g, two, 7));
	told("answer, empty", write(g, two, 0));
	struct reader *r = reader_new(path_a, 0), *s = reader_new(path_b, 0);
	wait_two(g);
	struct fanotify_event_metadata *m = event_read(g), *n = (void *)((char *)m + m->event_len);
	two[0].fd = m->fd;
	two[0].response = FAN_ALLOW | FAN_AUDIT;
	told("answer, audited", write(g, two, 8));
	two[0].response = 0x20 | FAN_ALLOW;
	told("answer, with info", write(g, two, 8));
	two[0].response = 0x40 | FAN_ALLOW;
	told("answer, unknown bits", write(g, two, 8));
	two[0].response = FAN_ALLOW;
	two[1] = (struct fanotify_response){n->fd, FAN_ALLOW};
	told("answer, two at once", write(g, two, 16));
	struct iovec v[2] = {{&two[1], 4}, {(char *)&two[1] + 4, 4}};
	told("answer, in pieces", writev(g, v, 2));
	told("answer, a vector", writev(g, (struct iovec[]){{&two[1], 8}, {two, 0}}, 2));
	close(m->fd);
	close(n->fd);
	reader_end("the first", r);
	reader_end("the second", s);
	close(g);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	top = argv[1];
	snprintf(path_a, sizeof(path_a), "%s/a", top);
	snprintf(path_b, sizeof(path_b), "%s/b", top);
	init_calls();
	mark_all();
	read_calls();
	answer_calls();
	return 0;
}
