/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/pool.h"
#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
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
	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct pool_job *job = p->head;

		if (job == NULL) {
			if (p->ending)
				break;
			pthread_cond_wait(&p->work, &p->lock);
			continue;
		}
		p->head = job->next;
		if (p->head == NULL)
			p->tail = &p->head;
		pthread_mutex_unlock(&p->lock);
		job->run(job);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

struct pool *pool_new(const char *name, unsigned threads)
{
	struct pool *p;
	sigset_t all, before;

	g_assert(threads > 0);
	p = g_malloc0(sizeof *p + threads * sizeof p->threads[0]);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
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
	pthread_mutex_lock(&p->lock);
	*p->tail = job;
	p->tail = &job->next;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
}

void pool_free(struct pool *p)
{
	if (p == NULL)
		return;
	pthread_mutex_lock(&p->lock);
	p->ending = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->count; i++)
		pthread_join(p->threads[i], NULL);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	g_free(p->name);
	g_free(p);
}
