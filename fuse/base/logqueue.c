/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/logqueue.h"
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include "fetch/base/lock.h"

enum { QUEUE_MAX = 1 << 20, KEPT_MAX = 65536 /* bytes, between two bursts */ };

struct logqueue {
	void (*write)(void *user, const char *text, size_t length, uint64_t lost);
	void *user;
	struct mutex lock;
	struct condition filled;
	GString *text; /* owned, under lock: whole lines */
	uint64_t lost; /* under lock: lines, since `text` was last taken */
	bool threaded;
	pthread_t thread;
	/* atomic: lines added, lost ones too; of these, lines written or given up */
	uint64_t added, done;
};

/* The queue's thread calls it without the lock. */
static void queue_write(struct logqueue *q, GString *text, uint64_t lost, uint64_t upto)
{
	q->write(q->user, text->str, text->len, lost);
	g_string_truncate(text, 0);
	__atomic_store_n(&q->done, upto, __ATOMIC_SEQ_CST);
}

static void *queue_run(void *arg)
{
	struct logqueue *q = arg;
	GString *text = g_string_new(NULL);
	for (;;) {
		mutex_lock(&q->lock);
		while (!q->text->len && !q->lost)
			condition_wait(&q->filled, &q->lock);
		GString *taken = q->text;
		q->text = text;
		text = taken;
		uint64_t lost = q->lost, upto = __atomic_load_n(&q->added, __ATOMIC_SEQ_CST);
		q->lost = 0;
		mutex_unlock(&q->lock);
		queue_write(q, text, lost, upto);
		if (text->allocated_len > KEPT_MAX) {
			g_string_free(text, TRUE);
			text = g_string_new(NULL);
		}
	}
	return NULL;
}

/* Signals are for other threads, except those that this thread itself may cause. */
static bool thread_start(struct logqueue *q)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
	sigset_t all, before;
	sigfillset(&all);
	for (unsigned n = 0; n < G_N_ELEMENTS(faults); n++)
		sigdelset(&all, faults[n]);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = pthread_create(&q->thread, NULL, queue_run, q);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err == 0)
		pthread_detach(q->thread);
	return err == 0;
}

struct logqueue *
logqueue_new(void (*write)(void *user, const char *text, size_t length, uint64_t lost), void *user)
{
	struct logqueue *q = g_new0(struct logqueue, 1);
	q->write = write;
	q->user = user;
	q->text = g_string_new(NULL);
	mutex_init(&q->lock, RANK_LOG_QUEUE);
	condition_init(&q->filled);
	q->threaded = thread_start(q);
	return q;
}

void logqueue_add(struct logqueue *q, const char *line, size_t length)
{
	mutex_lock(&q->lock);
	uint64_t upto = __atomic_add_fetch(&q->added, 1, __ATOMIC_SEQ_CST);
	/* lines after a lost one are lost as well: the log counts them in their place */
	if (q->lost || q->text->len + length > QUEUE_MAX)
		q->lost++;
	else
		g_string_append_len(q->text, line, (gssize)length);
	if (!q->threaded) {
		queue_write(q, q->text, q->lost, upto);
		q->lost = 0;
	}
	condition_signal(&q->filled);
	mutex_unlock(&q->lock);
}

uint64_t logqueue_waiting(const struct logqueue *q)
{
	uint64_t done = __atomic_load_n(&q->done, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&q->added, __ATOMIC_SEQ_CST) - done;
}

/* Polls, since a signal handler may neither lock nor wait for a condition. */
bool logqueue_flush(struct logqueue *q, unsigned ms)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	uint64_t upto = __atomic_load_n(&q->added, __ATOMIC_SEQ_CST);
	if (q->threaded && pthread_equal(pthread_self(), q->thread))
		return false; /* it would wait for itself */
	for (unsigned n = 0; __atomic_load_n(&q->done, __ATOMIC_SEQ_CST) < upto; n++) {
		if (n >= ms)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}
