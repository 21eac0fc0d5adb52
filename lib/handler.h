/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A handler: one connection, and the threads that use it.
 * Shape:   of all waiting threads one reads the socket: events go to the
 *          queue, results to their markers. It stops reading when its own wait is over, and
 *          wakes another one
 * Owns:    its descriptors; the queue, until lacuna_next() hands a request out
 * Locking: `lock`, then nothing; `sending` alone. `inbox` belongs to the thread that set `reading`.
 *          No lock is held while a thread waits for the socket
 * Wakes:   `wake` becomes readable, permanently, with `stopping` and with `broken`; `ready` is
 *          readable while the queue has an event that no thread is about to take; `poll`
 *          (epoll) is readable with one of these or the socket
 */
#pragma once
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "lib/message.h"

/* A request with its path: one allocation. */
struct queued_request {
	struct lacuna_request request; /* first: lacuna_respond() frees by it */
	struct queued_request *next;
	char path[];
};

/* Of a thread in lacuna_mark(), on its stack. */
struct marker {
	uint64_t id;
	bool done;
	int error; /* a positive errno, or 0 */
	pthread_cond_t changed;
	struct marker *next;
};

struct lacuna_handler {
	int socket, wake, ready, poll;
	unsigned major, minor; /* of the mount */
	atomic_bool stopping;
	_Atomic uint64_t refusals;
	pthread_mutex_t sending; /* so that messages stay whole */

	pthread_mutex_t lock;
	pthread_cond_t events; /* for `waiting` threads: an event, or no thread reads the socket */
	pthread_cond_t left;   /* users: 0 */
	struct queued_request *first, **last;
	struct marker *markers;
	uint64_t marks; /* made so far */
	unsigned users, waiting;
	bool reading, ready_set;
	int broken; /* 0, or the -errno that ends it all */

	struct inbox inbox;
};

/* Takes `socket`, also on failure: NULL and *error. */
struct lacuna_handler *handler_new(int socket, unsigned major, unsigned minor, int *error);
/* Processes messages that arrived right after the answer to the attach line. */
int handler_begin(struct lacuna_handler *h);
/* Counts the caller as inside, so that lacuna_close() waits for it. */
void handler_enter(struct lacuna_handler *h);
void handler_leave(struct lacuna_handler *h);
/* Waits until `m` is done, if not NULL, else for an event, which it returns.
 * `timeout_ms` -1: no limit. 0, -EAGAIN, -ESHUTDOWN, or the error of the connection. */
int handler_wait(struct lacuna_handler *h, struct marker *m, int timeout_ms,
                 struct queued_request **out);
/* Dispatches the complete messages of the inbox. REQUIRES(lock) */
int handler_sort_locked(struct lacuna_handler *h);
int handler_send(struct lacuna_handler *h, const void *message, size_t length);
void queued_request_free(struct queued_request *e);
void eventfd_set(int fd);  /* async-signal-safe */
int64_t time_now_ms(void); /* CLOCK_MONOTONIC */

static inline void errno_restore(const int *saved)
{
	errno = *saved;
}
#define ERRNO_KEPT const int errno_kept __attribute__((cleanup(errno_restore), unused)) = errno
