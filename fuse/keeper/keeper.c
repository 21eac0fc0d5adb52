/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/keeper/keeper.h"
#include <errno.h>
#include <fcntl.h>
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
#include "fuse/keeper/refusal.h"

#define START_TRIES 3   /* that end with a status, or last too long */
#define START_WEIGHT 3  /* of each of them; deaths by a signal count 1 */
#define START_FREE 3    /* deaths by a signal without a pause */
#define START_PAUSE 100 /* ms, of the first pause; each is twice as long as the one before */
#define QUICK_NS INT64_C(1000000000)
#define FRESH_FEW 16 /* requests */
#define QUICK_FREE 8 /* deaths in a row, each soon and for few requests, without a pause */
#define PAUSE_MS 500 /* before each further takeover */
#define REAP_TRIES 50
#define REAP_LONG 2000 /* where there will be no other worker */

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
		keeper_signal(k);
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

/* The worker ended for an upgrade, or is the new program's, which the old one replaces. */
static bool was_upgrade(struct keeper *k)
{
	char text[128];
	int status = k->keeping.area->status;
	enum upgrade_stage stage = k->upgrade.stage;
	if (stage == UPGRADE_TRIES) {
		bool signalled = status != -1 && WIFSIGNALED(status);
		snprintf(text, sizeof(text),
		         "the new program's worker ended with %s %d, the old program goes on",
		         signalled ? "signal" : "status",
		         signalled      ? WTERMSIG(status)
		         : status == -1 ? -1
		                        : WEXITSTATUS(status));
		upgrade_fail(&k->upgrade, text);
	}
	return stage == UPGRADE_READY || stage == UPGRADE_TRIES;
}

/* false: enough. */
static bool may_go_on(struct keeper *k)
{
	if (was_upgrade(k))
		return true;
	if (!k->served)
		return may_start_again(k);
	bool quick = keeper_now() - k->served_ns < QUICK_NS && k->keeping.area->fresh < FRESH_FEW;
	k->quick = quick ? k->quick + 1 : 0;
	if (k->quick > QUICK_FREE)
		pause_for(k, PAUSE_MS);
	return true;
}

static int refuse(struct keeper *k)
{
	upgrade_fail(&k->upgrade, "no worker can be started: the mount answers EIO");
	for (unsigned n = 0; n < KEPT_MAX; n++) /* clients and handlers get an error, not silence */
		if (n != KEPT_DEVICE)
			keeper_keep(k, n, -1);
	refusal_run(&(struct refusal){.device = k->keeping.fds[KEPT_DEVICE],
	                              .signals = k->signals,
	                              .status = k->keeping.area->status,
	                              .point = k->job->point,
	                              .log = k->job->log});
	return 1;
}

static int keeper_go(struct keeper *k, bool first)
{
	for (;; first = false) {
		bool started = k->socket >= 0 || worker_start(k);
		if (first)
			k->job->started(k->job->user);
		if (started)
			worker_watch(k);
		struct area *a = k->keeping.area;
		bool serves = a->phase == AREA_SERVES && (started || !first);
		if (!serves) {
			upgrade_fail(&k->upgrade, "the mount has ended");
			keeper_drop(k); /* frees what is still stuck in the kernel */
		}
		int status = started ? worker_reap(k, serves ? REAP_TRIES : REAP_LONG) : -1;
		if (!serves) {
			if (status != -1) /* else the guard frees what is stuck, once we are gone */
				guard_stop(&k->guard);
			return started ? exit_as(status) : 1;
		}
		a->status = status;
		a->ended_ns = keeper_now();
		k->keeping.resumes = true;
		if (!may_go_on(k))
			return refuse(k);
	}
}

static int signals_open(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static bool keeper_init(struct keeper *k, const struct keeper_job *job)
{
	*k = (struct keeper){.job = job, .socket = -1, .guard = {.device = -1, .keeps = true}};
	upgrade_init(&k->upgrade);
	k->store.socket = -1;
	if (!job->detaches) /* else it is not the manager's main process */
		fdstore_open(&k->store);
	k->signals = signals_open();
	k->keeping.keeper = getpid();
	memset(k->keeping.fds, -1, sizeof(k->keeping.fds));
	return k->signals >= 0;
}

int keeper_run(const struct keeper_job *job)
{
	struct keeper k;
	if (!keeper_init(&k, job)) {
		perror("lacunafs: keeper");
		return 1;
	}
	k.keeping.area = area_new(true, &k.keeping.area_fd);
	if (!k.keeping.area) {
		close(k.signals);
		return keeper_without(job);
	}
	fdstore_put(&k.store, FDSTORE_AREA, k.keeping.area_fd, false);
	if (!k.store.keeps || k.keeping.area_fd < 0) /* else what waits, waits for the next one */
		guard_start(&k.guard);
	k.keeping.guard = k.guard.device;
	return keeper_go(&k, true);
}

int keeper_revive(const struct keeper_job *job, const struct fdstore_kept *kept, struct area *area)
{
	struct keeper k;
	if (!keeper_init(&k, job))
		return 1;
	area->status = -1;
	area->ended_ns = keeper_now();
	k.keeping.area = area;
	k.keeping.area_fd = kept->area;
	k.keeping.guard = -1;
	k.keeping.resumes = true;
	memcpy(k.keeping.fds, kept->fds, sizeof(kept->fds));
	return keeper_go(&k, false);
}

int keeper_resume(const struct keeper_job *job, const struct handover *h, struct area *area)
{
	struct keeper k;
	if (!keeper_init(&k, job))
		return 1;
	k.keeping.area = area;
	k.keeping.area_fd = h->area;
	k.keeping.guard = -1;
	k.keeping.resumes = true;
	memcpy(k.keeping.fds, h->fds, sizeof(h->fds));
	k.guard.pid = h->guard;
	k.worker = h->worker;
	k.socket = h->socket;
	k.stop = h->stop;
	k.served = true;
	k.served_ns = keeper_now();
	k.ready = true;
	upgrade_answer(h->client, NULL);
	return keeper_go(&k, false);
}

static void manager_tell(const void *manager, const char *text)
{
	fdstore_say(manager, text);
}

int keeper_without(const struct keeper_job *job)
{
	struct guard guard = {.keeps = false};
	struct fdstore store = {.socket = -1};
	struct keeping k = {.area = area_new(false, NULL),
	                    .area_fd = -1,
	                    .socket = -1,
	                    .tell = manager_tell,
	                    .manager = &store,
	                    .keeper = getpid()};
	for (unsigned n = 0; n < KEPT_MAX; n++)
		k.fds[n] = -1;
	if (!k.area) {
		perror("lacunafs: memory");
		return 1;
	}
	if (!job->detaches)
		fdstore_open(&store);
	guard_start(&guard);
	k.guard = guard.device;
	int status = job->work(&k, job->user);
	guard_stop(&guard);
	area_free(k.area);
	return status;
}
