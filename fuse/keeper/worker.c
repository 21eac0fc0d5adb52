/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "fuse/base/area.h"
#include "fuse/keeper/handover.h"
#include "fuse/keeper/keeper_private.h"
#include "fuse/keeper/word.h"

#define START_MS 30000  /* a takeover that takes longer has failed */
#define TRIAL_MS 2000   /* for which a new program's worker must serve */
#define YIELD_MS 1000   /* of the old one, to end in order */
#define REAP_PAUSE 1000 /* µs */

int64_t keeper_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* In the child. */
static void worker_run(struct keeper *k, int socket)
{
	close(k->socket);
	close(k->signals);
	k->keeping.socket = socket;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != k->keeping.keeper)
		_exit(1);
	exit(k->job->work(&k->keeping, k->job->user));
}

/* The new program's, which waits. */
static bool worker_adopt(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;
	bool goes = true;
	for (unsigned n = 0; n < KEPT_MAX; n++)
		if (k->keeping.fds[n] >= 0)
			goes &= word_send(u->socket, (struct word){WORD_HAND, n},
			                  k->keeping.fds[n]);
	if (!goes || !word_send(u->socket, (struct word){.kind = WORD_GO}, -1)) {
		upgrade_fail(u, "the new program's worker has ended");
		return false;
	}
	k->socket = u->socket;
	k->worker = u->pid;
	u->socket = -1;
	u->pid = 0;
	u->stage = UPGRADE_TRIES;
	if (k->stop)
		kill(k->worker, k->stop);
	return true;
}

bool worker_start(struct keeper *k)
{
	int pair[2];
	k->keeping.area->workers++;
	k->keeping.area->fresh = 0;
	k->served = k->settled = k->late = false;
	if (k->upgrade.stage == UPGRADE_READY && worker_adopt(k))
		return true;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	k->socket = pair[0];
	k->worker = fork();
	if (k->worker == 0)
		worker_run(k, pair[1]);
	close(pair[1]);
	if (k->worker < 0) {
		close(pair[0]);
		k->worker = 0;
	} else if (k->stop) {
		kill(k->worker, k->stop);
	}
	return k->worker > 0;
}

void keeper_keep(struct keeper *k, uint32_t what, int fd)
{
	int before = what < KEPT_MAX ? k->keeping.fds[what] : fd;
	if (what < KEPT_MAX) {
		k->keeping.fds[what] = fd;
		fdstore_put(&k->store, what, fd, before >= 0);
	}
	if (before >= 0)
		close(before);
}

void keeper_drop(struct keeper *k)
{
	for (unsigned n = 0; n < KEPT_MAX; n++)
		keeper_keep(k, n, -1);
}

/* The guard alone has its device from here on. */
static void guard_given(struct keeper *k)
{
	if (k->guard.device >= 0)
		close(k->guard.device);
	k->guard.device = k->keeping.guard = -1;
}

static struct handover handover_of(const struct keeper *k)
{
	struct handover h = {.area = k->keeping.area_fd,
	                     .words_size = (uint32_t)k->job->words_size,
	                     .output = -1,
	                     .errors = -1,
	                     .client = -1};
	memset(h.fds, -1, sizeof(h.fds));
	return h;
}

static void upgrade_asked(struct keeper *k, int client)
{
	struct handover h = handover_of(k);
	upgrade_begin(&k->upgrade, client, &h, k->job->words, k->keeping.area);
}

/* false: the end of the worker. */
static bool word_take(struct keeper *k)
{
	struct word word;
	int fd;
	int n = word_receive(k->socket, &word, &fd);
	/* the next worker must not work beside it; its end follows */
	if (n < 0 && errno != EINTR)
		kill(k->worker, SIGKILL);
	if (n <= 0)
		return n < 0;
	bool lost = word.kind == WORD_HAND && fd < 0; /* MSG_CTRUNC: no descriptor is left */
	if ((word.kind == WORD_HAND || word.kind == WORD_DROP) && !lost)
		keeper_keep(k, word.what, fd);
	else if (word.kind == WORD_UPGRADE && fd >= 0)
		upgrade_asked(k, fd);
	else if (fd >= 0)
		close(fd);
	if (word.kind == WORD_SERVE) {
		k->served = true;
		k->served_ns = keeper_now();
		k->failed = 0;
		guard_given(k);
		if (!k->ready)
			fdstore_say(&k->store, "READY=1");
		k->ready = true;
		if (k->job->detaches)
			setsid(); /* fails from the second time on */
	} else if (word.kind == WORD_SETTLED) {
		k->settled = true;
		k->settled_ns = keeper_now();
	} else if (word.kind == WORD_LEAVE) {
		fdstore_say(&k->store, "STOPPING=1");
		fdstore_put(&k->store, FDSTORE_AREA, -1, true);
		keeper_drop(k);
	}
	return true;
}

void keeper_signal(struct keeper *k)
{
	struct signalfd_siginfo info;
	if (read(k->signals, &info, sizeof(info)) != sizeof(info))
		return;
	k->stop = (int)info.ssi_signo;
	if (k->worker > 0)
		kill(k->worker, k->stop);
}

/* The new program goes on in this process, with the worker that it has. */
static void keeper_replace(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;
	struct handover h = handover_of(k);
	char text[128];
	h.role = HANDOVER_KEEPER;
	h.socket = k->socket;
	h.client = u->client;
	h.worker = k->worker;
	h.guard = k->guard.pid;
	h.stop = k->stop;
	memcpy(h.fds, k->keeping.fds, sizeof(h.fds));
	handover_exec(&h, k->job->words, u->program);
	snprintf(text, sizeof(text), "its worker serves, but the keeper cannot be replaced: %s",
	         strerror(errno));
	upgrade_fail(u, text);
}

/* When the worker has served. One that is unmounting does not yield, and ends the keeper. */
static int64_t worker_ask(struct keeper *k, int64_t now)
{
	struct upgrade *u = &k->upgrade;
	if (!u->told) {
		u->told = true;
		u->until_ns = now + YIELD_MS * INT64_C(1000000);
		kill(k->worker, KEEPING_YIELD);
	} else if (now >= u->until_ns) {
		if (k->keeping.area->phase == AREA_SERVES)
			kill(k->worker, SIGKILL);
		return INT64_MAX;
	}
	return u->until_ns;
}

/* A dead one, or one that unmounts, is the next to be looked at: by this program. */
static bool worker_serves(const struct keeper *k)
{
	struct pollfd p = {.fd = k->socket};
	bool ended = poll(&p, 1, 0) != 0 && (p.revents & (POLLHUP | POLLERR));
	return !ended && k->keeping.area->phase == AREA_SERVES;
}

/* Another program's worker must settle, and then serve for a while. */
static int64_t worker_try(struct keeper *k, int64_t now)
{
	const int64_t ms = 1000000;
	int64_t until = k->settled ? k->settled_ns + TRIAL_MS * ms : k->served_ns + START_MS * ms;
	if (now < until)
		return until;
	if (!worker_serves(k))
		return INT64_MAX;
	if (k->settled) {
		keeper_replace(k);
	} else if (!k->late) {
		k->late = true;
		kill(k->worker, SIGKILL);
	}
	return INT64_MAX;
}

/* What is due; ms until something will be; -1: nothing will. */
static int duties(struct keeper *k, int64_t since)
{
	const int64_t ms = 1000000, now = keeper_now();
	int64_t until = INT64_MAX;
	upgrade_expire(&k->upgrade, now);
	if (k->upgrade.stage == UPGRADE_STARTS)
		until = k->upgrade.until_ns;
	if (k->upgrade.stage == UPGRADE_READY && k->served)
		until = worker_ask(k, now);
	if (k->upgrade.stage == UPGRADE_TRIES && k->served)
		until = worker_try(k, now);
	if (k->keeping.resumes && !k->served && !k->late) {
		int64_t late = since + START_MS * ms;
		k->late = now >= late;
		if (k->late)
			kill(k->worker, SIGKILL);
		else
			until = MIN(until, late);
	}
	return until == INT64_MAX ? -1 : (int)(MAX(until - now, 0) / ms) + 1;
}

void worker_watch(struct keeper *k)
{
	const int64_t since = keeper_now();
	for (;;) {
		int wait = duties(k, since);
		bool waits =
		        k->upgrade.stage == UPGRADE_STARTS || k->upgrade.stage == UPGRADE_READY;
		struct pollfd fds[] = {{.fd = k->socket, .events = POLLIN},
		                       {.fd = k->signals, .events = POLLIN},
		                       {.fd = waits ? k->upgrade.socket : -1, .events = POLLIN}};
		if (poll(fds, 3, wait) < 0)
			continue;
		if (fds[1].revents)
			keeper_signal(k);
		if (fds[2].revents)
			upgrade_take(&k->upgrade);
		if (fds[0].revents && !word_take(k))
			break;
	}
	close(k->socket);
	k->socket = -1;
}

int worker_reap(struct keeper *k, unsigned tries)
{
	int status = -1;
	pid_t pid = 0;
	for (unsigned n = 0; n < tries && pid != k->worker; n++) {
		pid = waitpid(-1, &status, WNOHANG); /* earlier ones, too */
		if (pid > 0 && pid == k->guard.pid)
			k->guard.pid = 0; /* another process may have its number next */
		if (pid > 0 && pid == k->upgrade.pid)
			k->upgrade.pid = 0;
		if (pid == 0)
			usleep(REAP_PAUSE);
		else if (pid < 0 && errno != EINTR)
			break;
	}
	bool found = pid == k->worker;
	k->worker = 0;
	return found ? status : -1;
}
