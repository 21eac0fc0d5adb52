/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/keeper/refusal.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READ_PAUSE 1000 /* µs */
#define RESEND 7        /* FUSE_NOTIFY_RESEND; the headers of Debian 12 lack it */

/* A request and its data: max_write, and room for the header. */
static alignas(8) char request[(1u << 20) + 8192];

static void tell(const struct refusal *r)
{
	int fd =
	        r->log ? open(r->log, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW) : STDERR_FILENO;
	struct timespec now;
	struct tm tm;
	char stamp[32];
	if (fd < 0)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	bool signalled = r->status != -1 && WIFSIGNALED(r->status);
	dprintf(fd,
	        "%s.%03uZ warning: no worker can be started, the last one ended with %s %d: the "
	        "mount "
	        "answers EIO; unmount it, and mount it again\n",
	        stamp, (unsigned)(now.tv_nsec / 1000000), signalled ? "signal" : "status",
	        signalled         ? WTERMSIG(r->status)
	        : r->status == -1 ? -1
	                          : WEXITSTATUS(r->status));
	if (r->log)
		close(fd);
}

static bool wants_answer(const struct fuse_in_header *in)
{
	return in->opcode != FUSE_FORGET && in->opcode != FUSE_BATCH_FORGET &&
	       in->opcode != FUSE_INTERRUPT;
}

void refusal_run(const struct refusal *r)
{
	struct fuse_out_header again = {.len = sizeof(again), .error = RESEND};
	tell(r);
	fcntl(r->device, F_SETFL, O_NONBLOCK);
	if (write(r->device, &again, sizeof(again)) < 0 && errno == ENODEV)
		return;
	for (;;) {
		struct pollfd fds[] = {{.fd = r->device, .events = POLLIN},
		                       {.fd = r->signals, .events = POLLIN}};
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents) {
			umount2(r->point, MNT_DETACH | UMOUNT_NOFOLLOW);
			return;
		}
		ssize_t n = read(r->device, request, sizeof(request));
		if (n < 0 && errno == ENODEV)
			return;
		if (n < 0)
			usleep(READ_PAUSE); /* an error may last */
		const struct fuse_in_header *in = (const struct fuse_in_header *)request;
		if (n < (ssize_t)sizeof(*in) || !wants_answer(in))
			continue;
		struct fuse_out_header out = {
		        .len = sizeof(out), .error = -EIO, .unique = in->unique};
		if (write(r->device, &out, sizeof(out)) < 0)
			continue; /* its caller is gone */
	}
}
