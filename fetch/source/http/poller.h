/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Waits for ready sockets: epoll, without a system call for interest that is set and
 * cleared between two waits, as for a pooled connection with every request.
 * Locking: one thread, but for poller_wake()
 */
#pragma once
#include <stdint.h>

struct poller;
struct poller_event {
	int fd;
	uint32_t events; /* EPOLLIN … */
};

struct poller *poller_new(void); /* NULL with errno */
void poller_free(struct poller *p);
/* `events` = 0: no interest now. */
void poller_watch(struct poller *p, int fd, uint32_t events);
/* Before `fd` is closed. */
void poller_forget(struct poller *p, int fd);
/* At most `max` events, 0 after `timeout_ms` (-1 = never) or a wake-up. */
int poller_wait(struct poller *p, int timeout_ms, struct poller_event *out, int max);
void poller_wake(struct poller *p); /* any thread */
