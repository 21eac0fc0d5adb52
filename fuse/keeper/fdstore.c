/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/keeper/fdstore.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST 3 /* SD_LISTEN_FDS_START */
#define NAME_SIZE 32
#define PATIENCE_S 2

static const char *const names[] = {
        [KEPT_DEVICE] = "lacuna-device",   [KEPT_SECOND] = "lacuna-second",
        [KEPT_LOCK] = "lacuna-lock",       [KEPT_LISTENER] = "lacuna-listener",
        [KEPT_HANDLER] = "lacuna-handler", /* and its number */
};
static const char area_name[] = "lacuna-area";

static void name_of(uint32_t what, char name[NAME_SIZE])
{
	if (what == FDSTORE_AREA)
		g_strlcpy(name, area_name, NAME_SIZE);
	else if (what < KEPT_HANDLER)
		g_strlcpy(name, names[what], NAME_SIZE);
	else
		snprintf(name, NAME_SIZE, "%s%u", names[KEPT_HANDLER], what - KEPT_HANDLER);
}

void fdstore_open(struct fdstore *s)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	const char *path = getenv("NOTIFY_SOCKET");
	const char *room = getenv("FDSTORE");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	*s = (struct fdstore){.socket = -1};
	size_t length = path ? strlen(path) : 0;
	if (length < 2 || length >= sizeof(to.sun_path) || !strchr("/@", path[0]))
		return;
	memcpy(to.sun_path, path, length);
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&to,
	                       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) == 0)
		*s = (struct fdstore){.socket = fd, .keeps = room && atoi(room) > 0};
	else if (fd >= 0)
		close(fd);
}

static void message(const struct fdstore *s, const char *text, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec data = {(void *)text, strlen(text)};
	struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1};
	if (s->socket < 0)
		return;
	if (fd >= 0) {
		m.msg_control = control.room;
		m.msg_controllen = sizeof(control.room);
		control.header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	if (sendmsg(s->socket, &m, MSG_NOSIGNAL) < 0)
		dprintf(STDERR_FILENO, "lacunafs: the service manager does not answer: %s\n",
		        strerror(errno));
}

void fdstore_say(const struct fdstore *s, const char *text)
{
	message(s, text, -1);
}

void fdstore_put(const struct fdstore *s, uint32_t what, int fd, bool before)
{
	char name[NAME_SIZE], text[64];
	name_of(what, name);
	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	if (before)
		message(s, text, -1);
	if (fd < 0 || !s->keeps)
		return;
	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s", name);
	message(s, text, fd);
}

/* The place of a name; NULL: it is not one of ours. */
static int *place_of(struct fdstore_kept *k, const char *wanted)
{
	for (uint32_t what = 0; what <= FDSTORE_AREA; what++) {
		char name[NAME_SIZE];
		name_of(what, name);
		if (strcmp(name, wanted) == 0)
			return what == FDSTORE_AREA ? &k->area : &k->fds[what];
	}
	return NULL;
}

void fdstore_take(struct fdstore_kept *out)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS"),
	           *list = getenv("LISTEN_FDNAMES");
	bool given = pid && count && atoi(pid) == getpid();
	g_auto(GStrv) words = g_strsplit(given && list ? list : "", ":", -1);
	out->area = -1;
	memset(out->fds, -1, sizeof(out->fds));
	for (int n = 0; given && n < atoi(count) && words[n]; n++) {
		int fd = FIRST + n, *place = place_of(out, words[n]);
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		if (place && *place < 0)
			*place = fd;
		else
			close(fd);
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

void fdstore_drop(struct fdstore_kept *kept)
{
	struct fdstore s;
	fdstore_open(&s);
	for (uint32_t what = 0; what <= FDSTORE_AREA; what++) {
		int *place = what == FDSTORE_AREA ? &kept->area : &kept->fds[what];
		if (*place < 0)
			continue;
		fdstore_put(&s, what, -1, true);
		close(*place);
		*place = -1;
	}
	if (s.socket >= 0)
		close(s.socket);
}
