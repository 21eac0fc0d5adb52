/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/keeper/guard.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINGER_TIMES 100
#define LINGER_PAUSE 10000 /* µs */
#define NOTIFY_RESEND 7    /* FUSE_NOTIFY_RESEND, Linux 6.9; glibc's and older headers lack it */

static char message[(1u << 20) + 8192]; /* max_write and a header */

static void deny(int device, const struct fuse_in_header *in)
{
	const struct fuse_out_header out = {
	        .len = sizeof(out), .error = -ENOTCONN, .unique = in->unique};
	bool unanswered = in->opcode == FUSE_FORGET || in->opcode == FUSE_BATCH_FORGET ||
	                  in->opcode == FUSE_INTERRUPT;
	if (!unanswered && write(device, &out, sizeof(out)) < 0)
		return; /* its caller is gone */
}

/* false: the connection has ended, or never began. */
static bool deny_pending(int device)
{
	for (;;) {
		ssize_t n = read(device, message, sizeof(message));
		if (n >= (ssize_t)sizeof(struct fuse_in_header))
			deny(device, (const struct fuse_in_header *)message);
		else if (n == 0 || (errno != EINTR && errno != ENOENT))
			return n != 0 && errno == EAGAIN;
	}
}

/* All requests that were read and not answered come once more. */
static void resend(int device)
{
	const struct fuse_out_header out = {.len = sizeof(out), .error = NOTIFY_RESEND};
	if (write(device, &out, sizeof(out)) < 0)
		return; /* an older kernel */
}

/* `daemon`: a pidfd, readable once all threads have ended. */
static void fail_pending(int device, int daemon, bool keeps)
{
	struct pollfd fds[] = {{.fd = device, .events = POLLIN}, {.fd = daemon, .events = POLLIN}};
	resend(device);
	while (deny_pending(device) && !fds[1].revents)
		if (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno != EINTR)
			return;
	for (int n = 0; keeps && n < LINGER_TIMES && deny_pending(device); n++)
		usleep(LINGER_PAUSE);
}

/* The main thread of `parent` has ended, or ends now: while other threads are left, getppid() says
 * the same as before. A real-time signal is queued, whoever else has sent one. */
static void await_end(pid_t parent, const sigset_t *signals)
{
	siginfo_t info = {0};
	while (getppid() == parent && info.si_pid != parent)
		if (sigwaitinfo(signals, &info) < 0)
			info.si_pid = 0;
}

/* Only async-signal-safe functions. */
static void guard_run(int device, pid_t parent, bool keeps)
{
	sigset_t all;
	setsid();
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	prctl(PR_SET_NAME, "lacunafs-guard");
	prctl(PR_SET_PDEATHSIG, SIGRTMIN);
	if (device > 0)
		close_range(0, device - 1, 0);
	close_range(device + 1, ~0U, 0);
	int daemon = (int)syscall(SYS_pidfd_open, parent, 0);
	if (daemon < 0 || chdir("/") < 0)
		_exit(1);
	sigemptyset(&all);
	sigaddset(&all, SIGRTMIN);
	await_end(parent, &all);
	fail_pending(device, daemon, keeps);
	_exit(0);
}

void guard_start(struct guard *g)
{
	pid_t parent = getpid();
	g->device = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	pid_t child = g->device < 0 ? 0 : fork();
	if (child == 0 && g->device >= 0)
		guard_run(g->device, parent, g->keeps);
	g->pid = child;
	if (child > 0)
		return;
	g_message("cannot start the guard process: %s", g_strerror(errno));
	guard_connect(g, -1);
}

void guard_connect(struct guard *g, int session_fd)
{
	uint32_t first = (uint32_t)session_fd;
	if (g->device < 0)
		return;
	if (session_fd >= 0 && ioctl(g->device, FUSE_DEV_IOC_CLONE, &first) < 0)
		g_message("cannot clone the descriptor of /dev/fuse: %s", g_strerror(errno));
	close(g->device);
	g->device = -1;
}

void guard_stop(struct guard *g)
{
	if (g->pid <= 0)
		return;
	kill(g->pid, SIGKILL);
	while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
		;
}
