/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What a thread has of its own is the next thread's when it ends: each handler and each client of
 * the control socket has one. */
#include <glib.h>
#include <linux/fuse.h>
#include <malloc.h>
#include <pthread.h>
#include "fuse/base/area.h"
#include "fuse/inode/strikes.h"
#include "fuse/ops/meter.h"

enum { THREADS = 1200 };

static void each_alone(void *(*call)(void *), void *user)
{
	pthread_t thread;
	for (unsigned n = 0; n < THREADS; n++) {
		g_assert_cmpint(pthread_create(&thread, NULL, call, user), ==, 0);
		g_assert_cmpint(pthread_join(thread, NULL), ==, 0);
	}
}

static void *request(void *user)
{
	meter_begin(user, FUSE_READ, 1);
	meter_end(user, (fuse_req_t)user, 0, 10);
	return NULL;
}

static void test_meter(void)
{
	struct meter *m = meter_new();
	struct meter_op op;
	request(m);
	size_t before = mallinfo2().uordblks; /* 0 with a sanitizer, now and later */
	each_alone(request, m);
	g_assert_cmpuint(mallinfo2().uordblks, <, before + (size_t)1000 * THREADS);
	meter_op(m, FUSE_READ, &op);
	g_assert_cmpuint(op.requests, ==, 1 + THREADS);
	g_assert_cmpuint(meter_bytes_read(m), ==, 10 * (1 + THREADS));
	meter_free(m);
}

static void *work(void *user)
{
	g_assert_cmpuint(strikes_work(user, 4), ==, 0);
	g_assert_cmpuint(strikes_work(user, 6), ==, 4); /* it was noted */
	strikes_work(user, 0);
	return NULL;
}

static void test_strikes(void)
{
	struct area *a = area_new(true, NULL);
	each_alone(work, a);
	area_free(a);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/thread_ends/meter", test_meter);
	g_test_add_func("/thread_ends/strikes", test_strikes);
	return g_test_run();
}
