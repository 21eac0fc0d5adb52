/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The descriptors that a handler of pre-content events gets, and the processes that may have its
 * group: as calls.c, on a local file system and on a mount. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PRE_ACCESS 0x00100000u

static char path[4096];

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
	if (g < 0 || fanotify_mark(g, FAN_MARK_ADD, PRE_ACCESS, AT_FDCWD, path) != 0) {
		perror("fanotify");
		exit(3);
	}
	return g;
}

/* A process that reads a byte, in `file`; its exit status is the errno. */
static void handled(int number)
{
	(void)number;
}

static pid_t reader_new(const char *file)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid)
		return pid;
	char byte;
	signal(SIGUSR1, handled);
	int fd = open(file, O_RDONLY);
	for (int i = 3; i < 100; i++) /* the group and its descriptors */
		if (i != fd)
			close(i);
	_exit(pread(fd, &byte, 1, 5000) < 0 ? errno : 0);
}

static void reader_end(const char *what, pid_t pid)
{
	int status;
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		printf("%s: signal %d\n", what, WTERMSIG(status));
	else
		printf("%s: %s\n", what,
		       WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status)) : "read");
	fflush(stdout);
}

static struct fanotify_event_metadata *event_read(int g)
{
	static char buffer[256] __attribute__((aligned(8)));
	struct pollfd p = {.fd = g, .events = POLLIN};
	if (poll(&p, 1, 10000) != 1) {
		puts("no event");
		exit(4);
	}
	if (read(g, buffer, sizeof(buffer)) < 0)
		perror("read");
	return (void *)buffer;
}

static void answer(int g, int fd)
{
	struct fanotify_response r = {.fd = fd, .response = FAN_ALLOW};
	told("answer", write(g, &r, sizeof(r)));
}

/* In a process other than the waiting one: prints nothing, its exit status is the result. */
static void answer_and_exit(int g)
{
	struct fanotify_event_metadata *m = event_read(g);
	struct fanotify_response r = {.fd = m->fd, .response = FAN_ALLOW};
	exit(write(g, &r, sizeof(r)) == sizeof(r) ? 0 : 1);
}

static void names(int fd)
{
	char link[64], out[PATH_MAX] = "", *whole;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	told("readlink", readlink(link, out, sizeof(out)));
	told("is it", strcmp(out, path));
	told("readlink, cut off", readlink(link, out, 10));
	snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)getpid(), fd);
	told("by number", readlinkat(AT_FDCWD, link, out, sizeof(out)));
	int d = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
	snprintf(link, sizeof(link), "%d", fd);
	told("below", readlinkat(d, link, out, sizeof(out)));
	close(d);
	snprintf(link, sizeof(link), "/dev/fd/%d", fd);
	whole = realpath(link, NULL);
	told("realpath", whole ? strcmp(whole, path) : -1);
	free(whole);
}

static void attributes(int fd)
{
	struct stat a, b, c;
	struct statx x;
	char link[64], value[16];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	told("stat", stat(path, &a));
	told("fstat", fstat(fd, &b));
	told("same", a.st_ino == b.st_ino && a.st_dev == b.st_dev && a.st_size == b.st_size &&
	                     a.st_mode == b.st_mode && a.st_mtime == b.st_mtime);
	told("fstatat", fstatat(fd, "", &b, AT_EMPTY_PATH));
	told("stat of the link", stat(link, &c));
	told("same", a.st_ino == b.st_ino && a.st_ino == c.st_ino && a.st_dev == c.st_dev);
	told("statx", statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x));
	told("same", a.st_ino == x.stx_ino && (uint64_t)a.st_size == x.stx_size);
	told("fsetxattr", fsetxattr(fd, "user.state", "whole", 5, 0));
	told("getxattr", getxattr(path, "user.state", value, sizeof(value)));
	told("fgetxattr", fgetxattr(fd, "user.state", value, sizeof(value)));
	told("flistxattr", flistxattr(fd, NULL, 0) > 0);
	told("fremovexattr", fremovexattr(fd, "user.state"));
	told("getxattr", getxattr(path, "user.state", value, sizeof(value)));
	told("size", lseek(fd, 0, SEEK_END));
	told("futimens", futimens(fd, (struct timespec[2]){{1000000, 0}, {2000000, 0}}));
	told("fchmod", fchmod(fd, 0640));
	told("fchown", fchown(fd, (uid_t)-1, (gid_t)-1));
	told("stat", stat(path, &a));
	told("mtime", a.st_mtime);
	told("mode", a.st_mode & 07777);
}

static void flags_of(unsigned event_flags)
{
	char byte = 0;
	printf("-- event_f_flags %#x\n", event_flags);
	int g = group_new(0, event_flags), lowest = dup(0);
	pid_t reader = reader_new(path);
	close(lowest);
	struct fanotify_event_metadata *m = event_read(g);
	told("the lowest number", m->fd - lowest);
	told("flags", fcntl(m->fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC));
	told("closed on exec", fcntl(m->fd, F_GETFD));
	told("read", pread(m->fd, &byte, 1, 0));
	told("write", (event_flags & O_APPEND) ? 0 : pwrite(m->fd, &byte, 0, 0));
	int copy = dup(m->fd);
	close(m->fd);
	answer(g, m->fd);
	reader_end("reader", reader);
	struct stat a, b;
	told("a duplicate is the same",
	     stat(path, &a) == 0 && fstat(copy, &b) == 0 && a.st_ino == b.st_ino);
	close(copy);
	close(g);
}

/* Opens the file again by its link, which causes an event; and sets an ignore mark by it. */
static void reopened(void)
{
	char link[64];
	int g = group_new(0, O_RDWR | O_CLOEXEC);
	pid_t reader = reader_new(path), second;
	struct fanotify_event_metadata *m = event_read(g);
	int fd = m->fd;
	names(fd);
	attributes(fd);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	second = reader_new(link);
	m = event_read(g);
	answer(g, m->fd);
	close(m->fd);
	reader_end("by its link", second);
	told("ignored by its link",
	     fanotify_mark(g, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY,
	                   PRE_ACCESS, AT_FDCWD, link));
	reader_end("ignored", reader_new(path));
	told("ignored no more by it",
	     fanotify_mark(g, FAN_MARK_REMOVE | FAN_MARK_IGNORED_MASK, PRE_ACCESS, fd, NULL));
	answer(g, fd);
	close(fd);
	reader_end("reader", reader);
	close(g);
}

static void records(void)
{
	int g = group_new(FAN_REPORT_PIDFD, O_RDONLY);
	pid_t reader = reader_new(path);
	struct fanotify_event_metadata *m = event_read(g);
	const struct fanotify_event_info_pidfd *p = (void *)(m + 1);
	told("with a pidfd", m->event_len);
	told("its pid", m->pid - reader);
	told("type", p->hdr.info_type);
	told("pidfd", syscall(SYS_pidfd_send_signal, p->pidfd, 0, NULL, 0));
	close(p->pidfd);
	answer(g, m->fd);
	close(m->fd);
	reader_end("reader", reader);
	close(g);
	g = group_new(FAN_REPORT_TID, O_RDONLY);
	reader = reader_new(path);
	m = event_read(g);
	told("with a tid", m->event_len);
	told("its tid", m->pid - reader);
	answer(g, m->fd);
	close(m->fd);
	reader_end("reader", reader);
	close(g);
}

/* In a mount a write holds the file: a handler that changed it now would wait for itself. */
static void written(void)
{
	int g = group_new(0, O_RDWR);
	fflush(stdout);
	pid_t writer = fork();
	if (writer == 0) {
		close(g);
		int fd = open(path, O_WRONLY);
		_exit(pwrite(fd, "x", 1, 5000) == 1 ? 0 : errno);
	}
	struct fanotify_event_metadata *m = event_read(g);
	told("read under a write", fgetxattr(m->fd, "user.none", NULL, 0));
	told("changed under a write", fsetxattr(m->fd, "user.state", "whole", 5, 0));
	answer(g, m->fd);
	reader_end("writer", writer);
	told("changed after it", fsetxattr(m->fd, "user.state", "whole", 5, 0));
	close(m->fd);
	close(g);
}

static void signals(void)
{
	int g = group_new(0, O_RDONLY);
	pid_t reader = reader_new(path);
	struct fanotify_event_metadata *m = event_read(g);
	kill(reader, SIGUSR1);
	usleep(100000);
	told("a caught signal ends it", waitpid(reader, NULL, WNOHANG));
	answer(g, m->fd);
	close(m->fd);
	reader_end("reader", reader);
	reader = reader_new(path);
	m = event_read(g);
	kill(reader, SIGKILL);
	reader_end("killed", reader);
	answer(g, m->fd);
	close(m->fd);
	struct pollfd p = {.fd = g, .events = POLLIN};
	fd_set set;
	struct timeval soon = {0, 200000};
	told("nothing to read", poll(&p, 1, 200));
	FD_ZERO(&set);
	FD_SET(g, &set);
	told("nothing to select", select(g + 1, &set, NULL, NULL, &soon));
	told("not set", FD_ISSET(g, &set));
	char small[64];
	struct sigaction a = {.sa_handler = handled};
	sigaction(SIGALRM, &a, NULL);
	ualarm(200000, 0);
	told("interrupted", read(g, small, sizeof(small)));
	a.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &a, NULL);
	ualarm(100000, 0);
	pid_t late = fork();
	if (late == 0) {
		char byte;
		usleep(400000);
		int fd = open(path, O_RDONLY);
		_exit(read(fd, &byte, 1) == 1 ? 0 : errno);
	}
	ssize_t n = read(g, small, sizeof(small));
	told("not interrupted", n);
	answer(g, ((struct fanotify_event_metadata *)small)->fd);
	close(((struct fanotify_event_metadata *)small)->fd);
	reader_end("late", late);
	signal(SIGALRM, SIG_DFL);
	close(g);
}

static void ends(void)
{
	int g = group_new(0, O_RDONLY), other = dup(g), third = fcntl(g, F_DUPFD_CLOEXEC, 20);
	pid_t reader = reader_new(path);
	close(g);
	struct fanotify_event_metadata *m = event_read(other);
	answer(third, m->fd);
	close(m->fd);
	reader_end("by a duplicate", reader);
	told("dup2", dup2(other, 30) - 30);
	told("dup2, to a group", dup2(0, third) - third);
	reader = reader_new(path);
	m = event_read(30);
	close(m->fd);
	told("close_range", close_range(30, 40, 0));
	told("closed", fcntl(30, F_GETFD));
	close(other);
	reader_end("let go", reader);
	close(third);
}

static void processes(void)
{
	int g = group_new(0, O_RDONLY), status;
	fflush(stdout);
	pid_t guest = fork();
	if (guest == 0)
		exit(0); /* with the group, which stays the other one's */
	waitpid(guest, &status, 0);
	told("system", system("true"));
	pid_t heir = fork();
	if (heir == 0)
		answer_and_exit(g);
	close(g);
	usleep(100000);
	pid_t reader = reader_new(path);
	reader_end("answered by the heir", reader);
	waitpid(heir, &status, 0);
	told("the heir", WEXITSTATUS(status));
	reader_end("after its end", reader_new(path));
	pid_t first = fork();
	if (first == 0) { /* as daemon(3) does */
		g = group_new(0, O_RDONLY);
		if (fork())
			exit(0);
		answer_and_exit(g);
	}
	waitpid(first, &status, 0);
	reader_end("answered by a daemon", reader_new(path));
	usleep(200000);
	reader_end("after its end", reader_new(path));
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	snprintf(path, sizeof(path), "%s/a", argv[1]);
	flags_of(O_RDONLY);
	flags_of(O_RDWR | O_CLOEXEC);
	flags_of(O_WRONLY | O_APPEND | O_NONBLOCK);
	flags_of(O_RDWR | 0100000 | O_SYNC);
	reopened();
	records();
	written();
	signals();
	ends();
	processes();
	return 0;
}
