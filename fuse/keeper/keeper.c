/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/keeper/keeper.h"
#include <errno.h>
#include <fcntl.h>
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
#include "fuse/keeper/guard.h"
#include "fuse/keeper/refusal.h"
#include "fuse/keeper/word.h"

#define START_TRIES 3   /* that end with a status, or last too long */
#define START_WEIGHT 3  /* of each of them; deaths by a signal count 1 */
#define START_FREE 3    /* deaths by a signal without a pause */
#define START_PAUSE 100 /* ms, of the first pause; each is twice as long as the one before */
#define START_MS 30000  /* a takeover that takes longer has failed */
#define QUICK_NS INT64_C(1000000000)
#define FRESH_FEW 16 /* requests */
#define QUICK_FREE 8 /* deaths in a row, each soon and for few requests, without a pause */
#define PAUSE_MS 500 /* before each further takeover */
#define REAP_TRIES 50
#define REAP_LONG 2000  /* where there will be no other worker */
#define REAP_PAUSE 1000 /* µs */

struct keeper {
	const struct keeper_job *job;
	struct keeping keeping;
	struct guard guard;
	int signals, socket; /* the keeper's end; -1: the worker is dead */
	pid_t worker;        /* 0: none */
	int stop;            /* a signal to be passed on to each worker; 0: none */
	bool served;         /* this worker took over, or mounted */
	bool late;           /* it was killed, since it did not */
	int64_t served_ns;   /* CLOCK_MONOTONIC */
	unsigned failed;     /* starts in a row */
	unsigned quick;      /* deaths in a row */
};

static int64_t now_ns(void)
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

static bool worker_start(struct keeper *k)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	k->keeping.area->workers++;
	k->keeping.area->fresh = 0;
	k->served = k->late = false;
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

/* `fd` in the place of the one that was kept; -1: none. */
static void keep(struct keeper *k, uint32_t what, int fd)
{
	int before = what < KEPT_MAX ? k->keeping.fds[what] : fd;
	if (what < KEPT_MAX)
		k->keeping.fds[what] = fd;
	if (before >= 0)
		close(before);
}

static void let_go(struct keeper *k)
{
	for (unsigned n = 0; n < KEPT_MAX; n++)
		keep(k, n, -1);
}

/* The guard alone has its device from here on. */
static void guard_given(struct keeper *k)
{
	if (k->guard.device >= 0)
		close(k->guard.device);
	k->guard.device = k->keeping.guard = -1;
}

/* false: the end of the worker. */
static bool word_take(struct keeper *k)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct word word = {0};
	struct iovec data = {&word, sizeof(word)};
	struct msghdr m = {.msg_iov = &data,
	                   .msg_iovlen = 1,
	                   .msg_control = control.room,
	                   .msg_controllen = sizeof(control.room)};
	ssize_t n = recvmsg(k->socket, &m, MSG_CMSG_CLOEXEC);
	/* the next worker must not work beside it; its end follows */
	if (n < 0 && errno != EINTR)
		kill(k->worker, SIGKILL);
	if (n <= 0)
		return n < 0;
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int fd = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	bool lost = word.kind == WORD_HAND && fd < 0; /* MSG_CTRUNC: no descriptor is left */
	if ((word.kind == WORD_HAND || word.kind == WORD_DROP) && !lost)
		keep(k, word.what, fd);
	else if (fd >= 0)
		close(fd);
	if (word.kind == WORD_SERVE) {
		k->served = true;
		k->served_ns = now_ns();
		k->failed = 0;
		guard_given(k);
		if (k->job->detaches)
			setsid(); /* fails from the second time on */
	} else if (word.kind == WORD_LEAVE) {
		let_go(k);
	}
	return true;
}

static void signal_take(struct keeper *k)
{
	struct signalfd_siginfo info;
	if (read(k->signals, &info, sizeof(info)) != sizeof(info))
		return;
	k->stop = (int)info.ssi_signo;
	if (k->worker > 0)
		kill(k->worker, k->stop);
}

/* Until the worker is dead. A takeover has a deadline. */
static void worker_watch(struct keeper *k)
{
	int64_t until = now_ns() + START_MS * INT64_C(1000000);
	for (;;) {
		struct pollfd fds[] = {{.fd = k->socket, .events = POLLIN},
		                       {.fd = k->signals, .events = POLLIN}};
		bool late = k->keeping.resumes && !k->served && now_ns() >= until;
		if (late)
			kill(k->worker, SIGKILL);
		k->late |= late;
		int wait = k->keeping.resumes && !k->served && !late ? START_MS : -1;
		if (poll(fds, 2, wait) < 0)
			continue;
		if (fds[1].revents)
			signal_take(k);
		if (fds[0].revents && !word_take(k))
			break;
	}
	close(k->socket);
	k->socket = -1;
}

/* Its status, or -1 if a thread of the notifier is still stuck in the kernel: reaped later. */
static int worker_reap(struct keeper *k, unsigned tries)
{
	int status = -1;
	pid_t pid = 0;
	for (unsigned n = 0; n < tries && pid != k->worker; n++) {
		pid = waitpid(-1, &status, WNOHANG); /* earlier ones, too */
		if (pid > 0 && pid == k->guard.pid)
			k->guard.pid = 0; /* another process may have its number next */
		if (pid == 0)
			usleep(REAP_PAUSE);
		else if (pid < 0 && errno != EINTR)
			break;
	}
	bool found = pid == k->worker;
	k->worker = 0;
	return found ? status : -1;
}

static int exit_as(int status)
{
	if (status == -1 || WIFEXITED(status))
		return status == -1 ? 0 : WEXITSTATUS(status); /* -1: it left in order */
	prctl(PR_SET_DUMPABLE, 0);
	signal(WTERMSIG(status), SIG_DFL);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, WTERMSIG(status));
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(WTERMSIG(status));
	return 128 + WTERMSIG(status);
}

static void pause_for(struct keeper *k, int ms)
{
	struct pollfd p = {.fd = k->signals, .events = POLLIN};
	if (poll(&p, 1, ms) > 0)
		signal_take(k);
}

/* false: enough. */
static bool may_start_again(struct keeper *k)
{
	int status = k->keeping.area->status;
	bool killed = !k->late && (status == -1 || !WIFEXITED(status));
	k->failed += killed ? 1 : START_WEIGHT;
	if (k->failed >= START_TRIES * START_WEIGHT)
		return false;
	if (killed && k->failed > START_FREE)
		pause_for(k, START_PAUSE << (k->failed - START_FREE - 1));
	return true;
}

/* false: enough. */
static bool may_go_on(struct keeper *k)
{
	if (!k->served)
		return may_start_again(k);
	bool quick = now_ns() - k->served_ns < QUICK_NS && k->keeping.area->fresh < FRESH_FEW;
	k->quick = quick ? k->quick + 1 : 0;
	if (k->quick > QUICK_FREE)
		pause_for(k, PAUSE_MS);
	return true;
}

static int refuse(struct keeper *k)
{
	for (unsigned n = 0; n < KEPT_MAX; n++) /* clients and handlers get an error, not silence */
		if (n != KEPT_DEVICE)
			keep(k, n, -1);
	refusal_run(&(struct refusal){.device = k->keeping.fds[KEPT_DEVICE],
	                              .signals = k->signals,
	                              .status = k->keeping.area->status,
	                              .point = k->job->point,
	                              .log = k->job->log});
	return 1;
}

int keeper_run(const struct keeper_job *job)
{
	struct keeper k = {.job = job, .socket = -1, .guard.keeps = true};
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	k.signals = signalfd(-1, &set, SFD_CLOEXEC);
	k.keeping.keeper = getpid();
	k.keeping.area = area_new(true);
	for (unsigned n = 0; n < KEPT_MAX; n++)
		k.keeping.fds[n] = -1;
	if (!k.keeping.area || k.signals < 0) {
		perror("lacunafs: keeper");
		return 1;
	}
	guard_start(&k.guard);
	k.keeping.guard = k.guard.device;
	for (bool first = true;; first = false) {
		bool started = worker_start(&k);
		if (first)
			job->started(job->user);
		if (started)
			worker_watch(&k);
		struct area *a = k.keeping.area;
		bool serves = a->phase == AREA_SERVES && (started || !first);
		if (!serves)
			let_go(&k); /* frees what is still stuck in the kernel */
		int status = started ? worker_reap(&k, serves ? REAP_TRIES : REAP_LONG) : -1;
		if (!serves) {
			if (status != -1) /* else the guard frees what is stuck, once we are gone */
				guard_stop(&k.guard);
			return started ? exit_as(status) : 1;
		}
		a->status = status;
		a->ended_ns = now_ns();
		k.keeping.resumes = true;
		if (!may_go_on(&k))
			return refuse(&k);
	}
}

int keeper_without(const struct keeper_job *job)
{
	struct guard guard = {.keeps = false};
	struct keeping k = {.socket = -1, .keeper = getpid(), .area = area_new(false)};
	for (unsigned n = 0; n < KEPT_MAX; n++)
		k.fds[n] = -1;
	if (!k.area) {
		perror("lacunafs: memory");
		return 1;
	}
	guard_start(&guard);
	k.guard = guard.device;
	int status = job->work(&k, job->user);
	guard_stop(&guard);
	area_free(k.area);
	return status;
}
