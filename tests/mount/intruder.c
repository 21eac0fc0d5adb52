/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Preloaded into the daemon: at SIGUSR2 it tries, as somebody who has taken over the daemon would,
 * what a confined one may not do. intruder.py reads the results.
 * Shape: INTRUDER names a file of one struct intrusion, shared with the test. NO_LANDLOCK and
 *        NO_SECCOMP (set or not): the kernel seems to have none
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <dlfcn.h>
#include <unistd.h>

enum {
	READ,
	TRUNCATE,
	CREATE,
	UNLINK,
	RENAME,
	STORE, /* from here to ETC: open(2) */
	ETC,
	EXECUTE,
	MOUNT,
	NAMESPACE,
	TRACE,
	SIGNAL,
	HANDLE,
	BPF,
	LISTEN,
	CONNECT,
	TRIES
};

struct intrusion {
	int32_t done, victim, gentle; /* gentle: without what would harm an open daemon */
	uint32_t port;
	int32_t error[TRIES];
	char outside[128], new_file[128], inside[128];
};

static struct intrusion *shared;

/* As a raw call: 0, or the errno. */
static int32_t result(long value)
{
	return value < 0 ? errno : 0;
}

static int32_t opened(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);
	int32_t error = result(fd);
	if (fd >= 0)
		close(fd);
	return error;
}

static int32_t tcp(int (*call)(int, const struct sockaddr *, socklen_t), uint32_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
	                        .sin_port = htons((uint16_t)port),
	                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int32_t error = result(call(fd, (struct sockaddr *)&a, sizeof(a)));
	close(fd);
	return error;
}

static int bind_to(int fd, const struct sockaddr *a, socklen_t n)
{
	return bind(fd, a, n);
}

static int connect_to(int fd, const struct sockaddr *a, socklen_t n)
{
	return connect(fd, a, n);
}

static void harm(struct intrusion *s)
{
	char *argv[] = {(char *)"true", NULL}, *envp[] = {NULL};
	s->error[TRUNCATE] = result(truncate(s->outside, 0));
	s->error[UNLINK] = result(unlink(s->outside));
	s->error[RENAME] = result(rename(s->outside, s->inside));
	s->error[EXECUTE] = result(execve("/bin/true", argv, envp));
	s->error[MOUNT] = result(mount("none", "/tmp", "tmpfs", 0, NULL));
	s->error[NAMESPACE] = result(unshare(CLONE_NEWUSER));
	s->error[TRACE] = result(ptrace(PTRACE_SEIZE, s->victim, NULL, NULL));
	s->error[HANDLE] = result(syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, O_RDONLY));
	s->error[BPF] = result(syscall(SYS_bpf, 0, NULL, 0));
}

static void intrude(int number)
{
	int before = errno;
	struct intrusion *s = shared;
	s->error[READ] = opened(s->outside, O_RDONLY);
	s->error[CREATE] = opened(s->new_file, O_WRONLY | O_CREAT);
	s->error[STORE] = opened(s->inside, O_RDWR | O_CREAT);
	s->error[ETC] = opened("/etc/passwd", O_RDONLY);
	s->error[SIGNAL] = result(kill(s->victim, 0));
	s->error[LISTEN] = tcp(bind_to, 0);
	s->error[CONNECT] = tcp(connect_to, s->port);
	if (!s->gentle)
		harm(s);
	__atomic_store_n(&s->done, 1, __ATOMIC_RELEASE);
	errno = before;
}

__attribute__((constructor)) static void wait_for_it(void)
{
	const char *path = getenv("INTRUDER");
	const struct sigaction action = {.sa_handler = intrude, .sa_flags = SA_RESTART};
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (shared != MAP_FAILED)
		sigaction(SIGUSR2, &action, NULL);
}

long syscall(long number, ...)
{
	static long (*next)(long, ...);
	long a[6];
	va_list args;
	if ((number == SYS_landlock_create_ruleset && getenv("NO_LANDLOCK")) ||
	    (number == SYS_seccomp && getenv("NO_SECCOMP"))) {
		errno = number == SYS_seccomp ? EINVAL : EOPNOTSUPP;
		return -1;
	}
	if (!next)
		next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	va_start(args, number);
	for (int n = 0; n < 6; n++)
		a[n] = va_arg(args, long);
	va_end(args);
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
