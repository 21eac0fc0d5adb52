/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <dirent.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "tests/unit/lacuna_peer.h"

void peer_open(struct peer *p)
{
	int pair[2], error = 0;
	const struct timeval patience = {.tv_sec = 20};
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	*p = (struct peer){.fd = pair[0], .scratch = memfd_create("scratch", MFD_CLOEXEC)};
	g_assert_cmpint(p->scratch, >=, 0);
	p->h = handler_new(pair[1], 0, 42, &error);
	g_assert_nonnull(p->h);
}

void peer_close(struct peer *p)
{
	if (p->fd >= 0)
		close(p->fd);
	lacuna_close(p->h, 0);
	close(p->scratch);
}

void peer_send(struct peer *p, const void *bytes, size_t length, const int *fds, unsigned count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)bytes, length};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	if (count) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(count * sizeof(int)),
		                                  .cmsg_level = SOL_SOCKET,
		                                  .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	}
	g_assert_cmpint(sendmsg(p->fd, &m, MSG_NOSIGNAL), ==, (ssize_t)length);
}

size_t event_make(uint8_t out[LACUNA_MESSAGE_MAX], uint64_t id)
{
	struct lacuna_event e = {.header = {.type = LACUNA_EVENT, .id = id},
	                         .offset = id * 4096,
	                         .length = 8192,
	                         .size = UINT64_C(1) << 40,
	                         .ino = id + 1000,
	                         .operation = LACUNA_FAULT,
	                         .flags = LACUNA_EVENT_AGAIN,
	                         .pid = 10,
	                         .tid = 11,
	                         .uid = 12};
	int n = g_snprintf((char *)out + sizeof(e), 64, "dir/file-%" G_GUINT64_FORMAT, id);
	e.path_length = (uint32_t)n;
	e.header.length = (uint32_t)(sizeof(e) + (size_t)n);
	memcpy(out, &e, sizeof(e));
	return e.header.length;
}

void peer_event(struct peer *p, uint64_t id)
{
	uint8_t bytes[LACUNA_MESSAGE_MAX];
	peer_send(p, bytes, event_make(bytes, id), &p->scratch, 1);
}

void peer_result(struct peer *p, uint64_t id, uint32_t error)
{
	const struct lacuna_result r = {
	        .header = {.length = sizeof(r), .type = LACUNA_RESULT, .id = id}, .error = error};
	peer_send(p, &r, sizeof(r), NULL, 0);
}

void peer_receive(struct peer *p, void *out, size_t length)
{
	g_assert_cmpint(recv(p->fd, out, length, MSG_WAITALL), ==, (ssize_t)length);
}

unsigned descriptors_open(void)
{
	unsigned count = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d))
		count++;
	closedir(d);
	return count;
}
