/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by transport.c (the network thread, the queue) and under_way.c (exchanges under way).
 * Locking: members that are not under the lock belong to the network thread */
#pragma once
#include <pthread.h>
#include "fetch/base/lock.h"
#include "fetch/source/http/easy.h"
#include "fetch/source/http/pace.h"
#include "fetch/source/http/transport.h"

struct transport {
	struct easy_context context;
	CURLM *multi;
	pthread_t thread;

	struct mutex lock;
	struct exchange *queue, *queue_end; /* under lock */
	bool sleeping, stopped, closing;    /* under lock */
	bool resuming;                      /* under lock: some exchange is to go on */

	/* the network thread's */
	struct exchange *under_way;
	unsigned count;
	struct pace pace;
	int64_t timer_ns; /* libcurl's; 0 = not set */
	int64_t sweep_ns; /* of the last one */
};

/* under_way.c; callbacks of the exchange come within these calls. Takes `error` (NULL: it went
 * well). */
void exchange_finish(struct exchange *x, GError *error);
void exchange_start(struct transport *t, struct exchange *x);
/* Ends an exchange under way. Takes `error`. */
void exchange_end(struct transport *t, struct exchange *x, GError *error);
/* Finishes the exchanges that libcurl has completed. */
void transport_reap(struct transport *t);
/* Checks the deadlines, at intervals. */
void transport_sweep(struct transport *t);
int64_t transport_next_sweep(const struct transport *t);
/* Resumes held bodies (transport_resume()). */
void transport_go_on(struct transport *t);
