/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/keeper/keeping.h"
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include "fuse/base/area.h"
#include "fuse/keeper/word.h"

static void say(const struct keeping *k, struct word word, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec data = {&word, sizeof(word)};
	struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1};
	if (fd >= 0) {
		m.msg_control = control.room;
		m.msg_controllen = sizeof(control.room);
		control.header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	if (k->socket >= 0 && sendmsg(k->socket, &m, MSG_NOSIGNAL) < 0)
		g_warning("the keeper does not answer: %s", g_strerror(errno));
}

void keeping_hand(const struct keeping *k, enum kept what, int fd)
{
	if (fd >= 0)
		say(k, (struct word){WORD_HAND, what}, fd);
}

void keeping_drop(const struct keeping *k, enum kept what)
{
	say(k, (struct word){WORD_DROP, what}, -1);
}

void keeping_serve(const struct keeping *k)
{
	k->area->phase = AREA_SERVES;
	say(k, (struct word){.kind = WORD_SERVE}, -1);
}

void keeping_leave(const struct keeping *k)
{
	k->area->phase = AREA_LEAVES;
	say(k, (struct word){.kind = WORD_LEAVE}, -1);
}
