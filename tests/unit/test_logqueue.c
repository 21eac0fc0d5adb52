/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Lines queued for a log whose disk stalls. */
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "fuse/base/logqueue.h"

struct disk {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool frozen, stuck; /* stuck: somebody waits for the thaw */
	GString *text;
	uint64_t lost;
	pthread_t writer;
};

static void disk_write(void *user, const char *text, size_t length, uint64_t lost)
{
	struct disk *d = user;
	pthread_mutex_lock(&d->lock);
	d->writer = pthread_self();
	d->stuck = d->frozen;
	pthread_cond_broadcast(&d->changed);
	while (d->frozen)
		pthread_cond_wait(&d->changed, &d->lock);
	d->stuck = false;
	g_string_append_len(d->text, text, (gssize)length);
	if (lost)
		g_string_append_printf(d->text, "%u lost\n", (unsigned)lost);
	d->lost += lost;
	pthread_mutex_unlock(&d->lock);
}

static struct disk *disk_new(bool frozen)
{
	struct disk *d = g_new0(struct disk, 1);
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->changed, NULL);
	d->frozen = frozen;
	d->text = g_string_new(NULL);
	return d;
}

static void disk_wait_stuck(struct disk *d)
{
	pthread_mutex_lock(&d->lock);
	while (!d->stuck)
		pthread_cond_wait(&d->changed, &d->lock);
	pthread_mutex_unlock(&d->lock);
}

static void disk_thaw(struct disk *d)
{
	pthread_mutex_lock(&d->lock);
	d->frozen = false;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

static void add(struct logqueue *q, const char *line)
{
	logqueue_add(q, line, strlen(line));
}

/* Logging never blocks; queued lines are written in order after the thaw. */
static void test_stalls(void)
{
	struct disk *d = disk_new(true);
	struct logqueue *q = logqueue_new(disk_write, d);
	add(q, "one\n");
	disk_wait_stuck(d);
	add(q, "two\n");
	add(q, "three\n");
	g_assert_false(logqueue_flush(q, 20));
	g_assert_cmpuint(logqueue_waiting(q), ==, 3);
	disk_thaw(d);
	g_assert_true(logqueue_flush(q, 30000));
	g_assert_cmpstr(d->text->str, ==, "one\ntwo\nthree\n");
	g_assert_cmpuint(logqueue_waiting(q), ==, 0);
	g_assert_false(pthread_equal(d->writer, pthread_self()));
}

/* The queue is bounded; a line says how many are missing. */
static void test_full(void)
{
	enum { LINE = 1000, COUNT = 5000 };
	struct disk *d = disk_new(true);
	struct logqueue *q = logqueue_new(disk_write, d);
	char line[LINE + 1];
	memset(line, 'x', LINE - 1);
	line[LINE - 1] = '\n';
	line[LINE] = '\0';
	add(q, "first\n");
	disk_wait_stuck(d);
	for (unsigned n = 0; n < COUNT; n++)
		add(q, line);
	add(q, "s\n"); /* it would fit, but not before the note of lost lines */
	disk_thaw(d);
	g_assert_true(logqueue_flush(q, 30000));
	add(q, "after\n");
	g_assert_true(logqueue_flush(q, 30000));
	g_assert_cmpuint(d->text->len, <=, (1 << 20) + 100);
	g_assert_cmpuint(d->text->len, >, (1 << 20) - LINE);
	g_assert_cmpuint(d->lost, ==, COUNT + 1 - (1 << 20) / LINE);
	g_assert_true(g_str_has_suffix(d->text->str, " lost\nafter\n"));
	g_assert_null(strstr(d->text->str, "\ns\n"));
}

static struct logqueue *handled;
static volatile sig_atomic_t flushed;

static void handle(int signal_number)
{
	flushed = logqueue_flush(handled, 30000);
}

static void test_in_a_handler(void)
{
	struct disk *d = disk_new(false);
	handled = logqueue_new(disk_write, d);
	signal(SIGUSR1, handle);
	add(handled, "line\n");
	raise(SIGUSR1);
	g_assert_true(flushed);
	g_assert_cmpstr(d->text->str, ==, "line\n");
}

/* The thread takes no signal of the process. */
static void test_signals(void)
{
	struct disk *d = disk_new(false);
	sigset_t set;
	struct timespec long_enough = {.tv_sec = 30};
	struct logqueue *q = logqueue_new(disk_write, d);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	add(q, "line\n");
	g_assert_true(logqueue_flush(q, 30000));
	kill(getpid(), SIGTERM);
	g_assert_cmpint(sigtimedwait(&set, NULL, &long_enough), ==, SIGTERM);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/logqueue/stalls", test_stalls);
	g_test_add_func("/logqueue/full", test_full);
	g_test_add_func("/logqueue/in_a_handler", test_in_a_handler);
	g_test_add_func("/logqueue/signals", test_signals);
	return g_test_run();
}
