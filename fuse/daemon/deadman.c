/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/daemon/deadman.h"
#include <errno.h>
#include <time.h>
#include <unistd.h>
#include "fetch/base/lock.h"
#include "fetch/store/opening.h"
#include "fuse/base/log.h"
#include "fuse/daemon/mounting.h"
#include "fuse/inode/notify.h"

/* A piece of a slow disk is read by then, and umount waits for six times as long. */
#define LONGEST_S 10

struct deadman {
	struct server *server;
	struct mutex lock;
	struct condition changed;
	bool disarmed; /* under lock */
	pthread_t thread;
};

static void leave(struct server *s)
{
	g_warning("%s does not answer: the daemon ends without it, and pending requests fail",
	          s->settings->source);
	if (s->notifier)
		notifier_leave(s->notifier); /* it has the device open, too */
	if (s->session)
		mounting_end(s);
	if (s->store)
		store_abandon(s->store);
	log_end();
	_exit(0);
}

static void *deadman_run(void *arg)
{
	struct deadman *d = arg;
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += LONGEST_S;
	mutex_lock(&d->lock);
	while (!d->disarmed && condition_wait_until(&d->changed, &d->lock, &until))
		;
	if (!d->disarmed)
		leave(d->server);
	mutex_unlock(&d->lock);
	return NULL;
}

struct deadman *deadman_arm(struct server *s)
{
	struct deadman *d = g_new0(struct deadman, 1);
	d->server = s;
	mutex_init(&d->lock, RANK_DEADMAN);
	condition_init(&d->changed);
	if (pthread_create(&d->thread, NULL, deadman_run, d) == 0)
		return d;
	g_message("cannot start the shutdown watchdog");
	condition_destroy(&d->changed);
	mutex_destroy(&d->lock);
	g_free(d);
	return NULL;
}

void deadman_disarm(struct deadman *d)
{
	if (!d)
		return;
	mutex_lock(&d->lock);
	d->disarmed = true;
	condition_broadcast(&d->changed);
	mutex_unlock(&d->lock);
	pthread_join(d->thread, NULL);
	condition_destroy(&d->changed);
	mutex_destroy(&d->lock);
	g_free(d);
}
