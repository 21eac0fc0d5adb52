/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/pool.h"
#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include "fetch/base/lock.h"

struct pool {
	struct mutex lock;
	struct condition work;
	struct pool_job *head, **tail; /* borrowed jobs; under lock */
	bool ending;                   /* under lock */
	char *name;                    /* owned */
	unsigned count;
	pthread_t threads[];
};

static void *pool_work(void *arg)
{
	struct pool *p = arg;

	pthread_setname_np(pthread_self(), p->name);
	/* an umask of its own: a job may create files for another user */
	if (unshare(CLONE_FS) < 0)
		g_error("unshare: %s", g_strerror(errno));
	mutex_lock(&p->lock);
	for (;;) {
		struct pool_job *job = p->head;

		if (job == NULL) {
			if (p->ending)
				break;
			condition_wait(&p->work, &p->lock);
			continue;
		}
		p->head = job->next;
		if (p->head == NULL)
			p->tail = &p->head;
		mutex_unlock(&p->lock);
		job->run(job);
		mutex_lock(&p->lock);
	}
	mutex_unlock(&p->lock);
	return NULL;
}

struct pool *pool_new(const char *name, unsigned threads)
{
	struct pool *p;
	sigset_t all, before;

	g_assert(threads > 0);
	p = g_malloc0(sizeof *p + threads * sizeof p->threads[0]);
	mutex_init(&p->lock, RANK_POOL);
	condition_init(&p->work);
	p->tail = &p->head;
	p->name = g_strndup(name, 15); /* the kernel's limit */
	/* signals belong to the main thread */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; p->count < threads; p->count++) {
		int error = pthread_create(&p->threads[p->count], NULL, pool_work, p);

		if (error != 0 && p->count == 0)
			g_error("no thread for %s: %s", name, g_strerror(error));
		if (error != 0)
			break; /* fewer do as well */
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return p;
}

void pool_submit(struct pool *p, struct pool_job *job)
{
	job->next = NULL;
	mutex_lock(&p->lock);
	*p->tail = job;
	p->tail = &job->next;
	condition_signal(&p->work);
	mutex_unlock(&p->lock);
}

void pool_free(struct pool *p)
{
	if (p == NULL)
		return;
	mutex_lock(&p->lock);
	p->ending = true;
	condition_broadcast(&p->work);
	mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->count; i++)
		pthread_join(p->threads[i], NULL);
	condition_destroy(&p->work);
	mutex_destroy(&p->lock);
	g_free(p->name);
	g_free(p);
}
