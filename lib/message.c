/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "lib/message.h"

static bool fd_add(struct inbox *in, int fd)
{
	if (in->fd_count < INBOX_FDS) {
		in->fds[in->fd_count++] = fd;
		return true;
	}
	if (fd >= 0)
		close(fd);
	return false;
}

static int fds_take(struct inbox *in, struct msghdr *m)
{
	unsigned came = 0;
	bool fit = true;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0);
		     at += sizeof(int)) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + at, sizeof(fd));
			fit = fd_add(in, fd) && fit;
			came++;
		}
	}
	/* Cut off and empty: this process has as many open files as it may. */
	if (m->msg_flags & MSG_CTRUNC)
		fit = came == 0 && fd_add(in, -1) && fit;
	return fit ? 0 : -EPROTO;
}

int inbox_receive(struct inbox *in, int socket)
{
	/* For one descriptor: the kernel hands out those of one send at a time */
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {in->bytes + in->used, sizeof(in->bytes) - in->used};
	struct msghdr m = {.msg_iov = &iov,
	                   .msg_iovlen = 1,
	                   .msg_control = &control,
	                   .msg_controllen = CMSG_LEN(sizeof(int))};
	ssize_t n;
	do
		n = recvmsg(socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : -ECONNRESET;
	int r = fds_take(in, &m);
	if (r == 0 && n == 0)
		r = -ECONNRESET;
	in->used += (size_t)n;
	return r;
}

int inbox_whole(const struct inbox *in)
{
	struct lacuna_message m;
	if (in->used < sizeof(m))
		return in->used == 0 && in->fd_count ? -EPROTO : 0;
	memcpy(&m, in->bytes, sizeof(m));
	if (m.length < sizeof(m) || m.length > LACUNA_MESSAGE_MAX)
		return -EPROTO;
	return in->used >= m.length;
}

void inbox_drop(struct inbox *in, size_t length)
{
	in->used -= length;
	memmove(in->bytes, in->bytes + length, in->used);
}

int inbox_fd(struct inbox *in, int *fd)
{
	if (in->fd_count == 0)
		return -EPROTO;
	*fd = in->fds[0];
	in->fd_count--;
	memmove(in->fds, in->fds + 1, in->fd_count * sizeof(*in->fds));
	return 0;
}

int inbox_line(struct inbox *in, char line[LINE_MAX_BYTES])
{
	const uint8_t *end = memchr(in->bytes, '\n', in->used);
	size_t length = end ? (size_t)(end - in->bytes) : in->used;
	if (length >= LINE_MAX_BYTES || memchr(in->bytes, '\0', length))
		return -EPROTO;
	if (!end)
		return -EAGAIN;
	memcpy(line, in->bytes, length);
	line[length] = '\0';
	inbox_drop(in, length + 1);
	return (int)length;
}

void inbox_clear(struct inbox *in)
{
	for (unsigned i = 0; i < in->fd_count; i++)
		if (in->fds[i] >= 0)
			close(in->fds[i]);
	in->fd_count = 0;
	in->used = 0;
}

int message_send(int socket, const void *message, size_t length)
{
	const uint8_t *at = message;
	while (length) {
		ssize_t n = send(socket, at, length, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -ECONNRESET;
		at += n;
		length -= (size_t)n;
	}
	return 0;
}
