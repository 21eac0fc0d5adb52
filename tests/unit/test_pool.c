/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/pool.h"
#include <glib.h>
#include <pthread.h>

struct numbered {
	struct pool_job job;
	unsigned number, *next, *ran;
	struct pool *resubmit;
};

static void run_in_order(struct pool_job *job)
{
	struct numbered *n = (struct numbered *)job;

	g_assert_cmpuint(n->number, ==, *n->next);
	++*n->next;
}

/* One thread: first in, first out; queued jobs run before the end. */
static void test_order(void)
{
	struct pool *p = pool_new("order", 1);
	struct numbered jobs[1000];
	unsigned next = 0;

	for (unsigned n = 0; n < G_N_ELEMENTS(jobs); n++) {
		jobs[n] = (struct numbered){.job.run = run_in_order, .number = n, .next = &next};
		pool_submit(p, &jobs[n].job);
	}
	pool_free(p);
	g_assert_cmpuint(next, ==, G_N_ELEMENTS(jobs));
}

/* A job may free or reuse itself, and submit others, even while the pool ends. */
static void run_again(struct pool_job *job)
{
	struct numbered *n = (struct numbered *)job;

	__atomic_add_fetch(n->ran, 1, __ATOMIC_SEQ_CST);
	if (--n->number > 0)
		pool_submit(n->resubmit, &n->job);
	else
		g_free(n);
}

static void test_resubmit(void)
{
	struct pool *p = pool_new("resubmit", 4);
	unsigned ran = 0;

	for (unsigned n = 0; n < 100; n++) {
		struct numbered *j = g_new0(struct numbered, 1);

		*j = (struct numbered){
		        .job.run = run_again, .number = 50, .ran = &ran, .resubmit = p};
		pool_submit(p, &j->job);
	}
	pool_free(p);
	g_assert_cmpuint(ran, ==, 5000);
}

struct meeting {
	struct pool_job job;
	pthread_barrier_t *all;
};

static void run_meet(struct pool_job *job)
{
	pthread_barrier_wait(((struct meeting *)job)->all);
}

/* All threads work at the same time: four jobs that wait for one another end. */
static void test_parallel(void)
{
	struct pool *p = pool_new("parallel", 4);
	struct meeting jobs[4];
	pthread_barrier_t all;

	pthread_barrier_init(&all, NULL, 4);
	for (unsigned n = 0; n < 4; n++) {
		jobs[n] = (struct meeting){.job.run = run_meet, .all = &all};
		pool_submit(p, &jobs[n].job);
	}
	pool_free(p);
	pthread_barrier_destroy(&all);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/pool/order", test_order);
	g_test_add_func("/pool/resubmit", test_resubmit);
	g_test_add_func("/pool/parallel", test_parallel);
	return g_test_run();
}
