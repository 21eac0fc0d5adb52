/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A waiter for a listing, or for attributes. */
#pragma once
#include "fetch/list/lister.h"
#include <pthread.h>

struct list_waiter {
	struct lister_wait wait;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned calls, count;
	int error;
};

void list_init(struct list_waiter *w);
int list_wait(struct list_waiter *w); /* for the one call of `done`: its error */
/* The number of entries, or a negative errno; *waited: the listing did not come at once. */
int list(struct directory *d, bool *waited);
