/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/keeper/upgrade.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "fuse/base/area.h"
#include "fuse/keeper/handover.h"
#include "fuse/keeper/peer.h"
#include "fuse/keeper/word.h"

#define START_NS INT64_C(30000000000)
#define SAID_MAX 512
#define REAP_TRIES 50
#define REAP_PAUSE 1000 /* µs */

static void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void upgrade_init(struct upgrade *u)
{
	*u = (struct upgrade){.client = -1, .program = -1, .output = -1, .socket = -1};
}

/* As part of a text in JSON. */
static void make_plain(char *text)
{
	for (char *c = text; *c; c++)
		if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
			*c = *c == '\n' ? ' ' : *c == '"' ? '\'' : '?';
}

void upgrade_answer(int client, const char *error)
{
	char line[3 * SAID_MAX] = "{\"upgraded\":true}\n";
	char text[2 * SAID_MAX];
	if (error) {
		snprintf(text, sizeof(text), "%s", error);
		make_plain(text);
		snprintf(line, sizeof(line), "{\"error\":\"%s\"}\n", text);
	}
	if (send(client, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		errno = 0; /* the client is gone */
	close(client);
}

/* The last line that it marked as its error, else the end of what it said. */
static const char *said(int output, char *text, size_t size)
{
	static const char mark[] = "lacunafs: ";
	off_t length = lseek(output, 0, SEEK_END);
	off_t from = length > (off_t)size - 1 ? length - ((off_t)size - 1) : 0;
	ssize_t n = pread(output, text, size - 1, from);
	text[n > 0 ? n : 0] = '\0';
	while (n > 0 && strchr(" \n", text[n - 1]))
		text[--n] = '\0';
	const char *begin = text, *marked;
	while ((marked = strstr(begin, mark)))
		begin = marked + strlen(mark);
	return begin;
}

/* Its status as of waitpid(2), if it ends by itself now; else it is killed, and the keeper reaps it
 * later if it takes longer. */
static int worker_end(pid_t pid)
{
	int status = 0;
	if (pid <= 0)
		return 0;
	for (unsigned n = 0; n < REAP_TRIES; n++) {
		if (waitpid(pid, &status, WNOHANG) != 0)
			return status;
		usleep(REAP_PAUSE);
	}
	kill(pid, SIGKILL);
	return 0;
}

void upgrade_fail(struct upgrade *u, const char *why)
{
	char text[SAID_MAX], line[2 * SAID_MAX];
	if (u->stage == UPGRADE_NONE)
		return;
	fd_close(&u->socket); /* one that waits ends */
	int status = worker_end(u->pid);
	const char *words = said(u->output, text, sizeof(text));
	if (WIFSIGNALED(status))
		snprintf(line, sizeof(line), "the new program was ended by signal %d%s%s",
		         WTERMSIG(status), *words ? ": " : "", words);
	else
		snprintf(line, sizeof(line), "%s%s%s", why, *words ? ": " : "", words);
	upgrade_answer(u->client, line);
	fd_close(&u->program);
	fd_close(&u->output);
	upgrade_init(u);
}

/* In the child. */
static void worker_exec(struct upgrade *u, const struct handover *h, const char *words, int socket)
{
	struct handover out = *h;
	pid_t keeper = getppid();
	out.role = HANDOVER_WORKER;
	out.socket = socket;
	out.output = u->output;
	out.errors = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	dup2(u->output, STDERR_FILENO);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == keeper)
		handover_exec(&out, words, u->program);
	dprintf(STDERR_FILENO, "lacunafs: cannot be executed: %s\n", strerror(errno));
	_exit(1);
}

static bool worker_spawn(struct upgrade *u, const struct handover *h, const char *words)
{
	int pair[2];
	u->output = memfd_create("said", MFD_CLOEXEC);
	if (u->output < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	u->socket = pair[0];
	u->pid = fork();
	if (u->pid == 0)
		worker_exec(u, h, words, pair[1]);
	close(pair[1]);
	return u->pid > 0;
}

/* -1: *why, static. */
static int program_of(int client, const struct handover *h, const struct area *area,
                      const char **why)
{
	*why = "its state lies in memory that cannot be handed over (a limit of file sizes)";
	if (h->area < 0)
		return -1;
	*why = "its state lies where another program may have no room for it";
	if (!area_is_placed(area))
		return -1;
	return peer_program(client, area->device, why);
}

void upgrade_begin(struct upgrade *u, int client, const struct handover *h, const char *words,
                   const struct area *area)
{
	struct timespec now;
	const char *why = "another upgrade is under way";
	if (u->stage == UPGRADE_NONE)
		u->program = program_of(client, h, area, &why);
	if (u->stage != UPGRADE_NONE || u->program < 0) {
		upgrade_answer(client, why);
		return;
	}
	errno = 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	u->stage = UPGRADE_STARTS;
	u->client = client;
	u->until_ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec + START_NS;
	if (!worker_spawn(u, h, words)) {
		u->pid = 0;
		upgrade_fail(u, strerror(errno));
	}
}

void upgrade_take(struct upgrade *u)
{
	struct word word;
	int fd;
	int n = word_receive(u->socket, &word, &fd);
	fd_close(&fd);
	if (n > 0 && word.kind == WORD_READY)
		u->stage = UPGRADE_READY;
	else if (n >= 0 || errno != EINTR)
		upgrade_fail(u, u->stage == UPGRADE_READY ? "the new program's worker has ended"
		                                          : "the new program refuses");
}

void upgrade_expire(struct upgrade *u, int64_t now_ns)
{
	if (u->stage == UPGRADE_STARTS && now_ns >= u->until_ns)
		upgrade_fail(u, "the new program did not start in time");
}
