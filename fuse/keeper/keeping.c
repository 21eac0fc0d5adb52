/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/keeper/keeping.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>
#include "fuse/base/area.h"
#include "fuse/keeper/word.h"

#define CLAIM_TRIES 20000
#define CLAIM_PAUSE 1000 /* µs */

static void say(const struct keeping *k, struct word word, int fd)
{
	if (k->socket >= 0 && !word_send(k->socket, word, fd))
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
	if (k->area->resends)
		k->area->phase = AREA_SERVES;
	say(k, (struct word){.kind = WORD_SERVE}, -1);
	if (k->tell)
		k->tell(k->manager, "READY=1");
}

void keeping_settled(const struct keeping *k)
{
	say(k, (struct word){.kind = WORD_SETTLED}, -1);
}

void keeping_leave(const struct keeping *k)
{
	k->area->phase = AREA_LEAVES;
	say(k, (struct word){.kind = WORD_LEAVE}, -1);
	if (k->tell)
		k->tell(k->manager, "STOPPING=1");
}

/* A lock of this process's own open file: it goes with the table of descriptors (word.h). */
int keeping_claim(const struct keeping *k)
{
	char path[32];
	if (k->area_fd < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", k->area_fd);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) /* no /proc: then no service manager, either */
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	for (unsigned n = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; n++) {
		if (n >= CLAIM_TRIES)
			return -EBUSY;
		usleep(CLAIM_PAUSE);
	}
	return 0;
}

bool keeping_upgrade(const struct keeping *k, int client)
{
	if (k->socket < 0 || !k->area->resends)
		return false;
	say(k, (struct word){.kind = WORD_UPGRADE}, client);
	return true;
}

bool keeping_stand_by(struct keeping *k)
{
	struct word word;
	int fd, n;
	if (!word_send(k->socket, (struct word){.kind = WORD_READY}, -1))
		return false;
	while ((n = word_receive(k->socket, &word, &fd)) != 0) {
		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0 && word.kind == WORD_GO)
			return true;
		if (word.kind == WORD_HAND && word.what < KEPT_MAX)
			k->fds[word.what] = fd;
		else if (fd >= 0)
			close(fd);
	}
	return false;
}
