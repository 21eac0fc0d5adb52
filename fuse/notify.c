/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/notify.h"
#define FUSE_USE_VERSION 318
#include <fuse_lowlevel.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>

struct notice {
	uint64_t nodeid;
	bool pages;
	char name[]; /* "" = the inode itself */
};

struct notifier {
	struct fuse_session *session;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	GQueue queue; /* of struct notice, owned */
	bool stop;
};

static void *notifier_run(void *arg)
{
	struct notifier *n = arg;
	pthread_mutex_lock(&n->lock);
	while (!n->stop) {
		struct notice *e = g_queue_pop_head(&n->queue);
		if (!e) {
			pthread_cond_wait(&n->wake, &n->lock);
			continue;
		}
		pthread_mutex_unlock(&n->lock);
		/* ENOENT: the kernel does not know it, which is as good. */
		if (e->name[0])
			fuse_lowlevel_notify_inval_entry(n->session, e->nodeid, e->name,
			                                 strlen(e->name));
		else
			fuse_lowlevel_notify_inval_inode(n->session, e->nodeid, e->pages ? 0 : -1,
			                                 0);
		g_free(e);
		pthread_mutex_lock(&n->lock);
	}
	pthread_mutex_unlock(&n->lock);
	return NULL;
}

struct notifier *notifier_new(struct fuse_session *se)
{
	struct notifier *n = g_new0(struct notifier, 1);
	n->session = se;
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->wake, NULL);
	g_queue_init(&n->queue);
	if (pthread_create(&n->thread, NULL, notifier_run, n) != 0)
		g_error("cannot start a thread");
	return n;
}

void notifier_stop(struct notifier *n)
{
	pthread_mutex_lock(&n->lock);
	n->stop = true;
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
	pthread_join(n->thread, NULL);
}

void notifier_free(struct notifier *n)
{
	g_queue_clear_full(&n->queue, g_free);
	pthread_cond_destroy(&n->wake);
	pthread_mutex_destroy(&n->lock);
	g_free(n);
}

static void enqueue(struct notifier *n, uint64_t nodeid, bool pages, const char *name)
{
	struct notice *e = g_malloc(sizeof(*e) + strlen(name) + 1);
	e->nodeid = nodeid;
	e->pages = pages;
	strcpy(e->name, name);
	pthread_mutex_lock(&n->lock);
	g_queue_push_tail(&n->queue, e);
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
}

void notifier_entry(struct notifier *n, uint64_t parent, const char *name)
{
	enqueue(n, parent, false, name);
}

void notifier_inode(struct notifier *n, uint64_t nodeid, bool pages)
{
	enqueue(n, nodeid, pages, "");
}
