/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "lib/handler.h"

int64_t time_now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void eventfd_set(int fd)
{
	const uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one)); /* fails only if full: then it is set */
	(void)n;
}

/* Sets `ready` for poll(2), whether or not a thread is about to take the queue's events.
 * REQUIRES(lock) */
static void ready_update_locked(struct lacuna_handler *h)
{
	uint64_t count;
	bool wanted = h->first != NULL;
	if (wanted == h->ready_set)
		return;
	h->ready_set = wanted;
	if (wanted)
		eventfd_set(h->ready);
	else if (read(h->ready, &count, sizeof(count)) < 0)
		h->ready_set = true; /* retried at the next event */
}

/* A thread must read as long as any thread waits. REQUIRES(lock) */
static void pass_on_locked(struct lacuna_handler *h)
{
	if (h->waiting && (h->first || !h->reading)) {
		pthread_cond_signal(&h->events);
		return;
	}
	for (struct marker *m = h->markers; m && !h->reading; m = m->next)
		if (!m->done) {
			pthread_cond_signal(&m->changed);
			return;
		}
}

static void break_locked(struct lacuna_handler *h, int error)
{
	if (h->broken)
		return;
	h->broken = error;
	eventfd_set(h->wake);
	pthread_cond_broadcast(&h->events);
	for (struct marker *m = h->markers; m; m = m->next)
		pthread_cond_signal(&m->changed);
}

int handler_begin(struct lacuna_handler *h)
{
	pthread_mutex_lock(&h->lock);
	int r = handler_sort_locked(h);
	ready_update_locked(h);
	pthread_mutex_unlock(&h->lock);
	return r;
}

/* Waits for the socket up to `timeout_ms`, and sorts the messages. -EAGAIN: none came.
 * REQUIRES(lock), releases it meanwhile. */
static int read_locked(struct lacuna_handler *h, int timeout_ms)
{
	struct pollfd p[2] = {{.fd = h->socket, .events = POLLIN},
	                      {.fd = h->wake, .events = POLLIN}};
	int ready = 1;
	h->reading = true;
	pthread_mutex_unlock(&h->lock);
	int r = inbox_receive(&h->inbox, h->socket);
	if (r == -EAGAIN) {
		ready = poll(p, 2, timeout_ms);
		r = ready > 0 && p[0].revents ? inbox_receive(&h->inbox, h->socket) : -EAGAIN;
	}
	pthread_mutex_lock(&h->lock);
	h->reading = false;
	if (r == 0)
		r = handler_sort_locked(h);
	if (r < 0 && r != -EAGAIN)
		break_locked(h, r);
	return ready == 0 ? -EAGAIN : 0;
}

/* Until there is something for this thread, or no thread reads. REQUIRES(lock) */
static int follow_locked(struct lacuna_handler *h, struct marker *m, int64_t until)
{
	struct timespec t = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
	pthread_cond_t *changed = m ? &m->changed : &h->events;
	h->waiting += !m;
	int r = until < 0 ? pthread_cond_wait(changed, &h->lock)
	                  : pthread_cond_timedwait(changed, &h->lock, &t);
	h->waiting -= !m;
	return -r;
}

static int outcome_locked(struct lacuna_handler *h, struct marker *m, struct queued_request **out)
{
	if (m && m->done)
		return 0;
	if (atomic_load(&h->stopping))
		return -ESHUTDOWN;
	if (h->broken)
		return h->broken;
	if (m || !h->first)
		return -EAGAIN;
	*out = h->first;
	h->first = h->first->next;
	if (!h->first)
		h->last = &h->first;
	return 0;
}

int handler_wait(struct lacuna_handler *h, struct marker *m, int timeout_ms,
                 struct queued_request **out)
{
	int64_t until = timeout_ms < 0 ? -1 : time_now_ms() + timeout_ms;
	bool expired = false;
	int r;
	pthread_mutex_lock(&h->lock);
	h->users++;
	/* Queued events and results come first, also when the time is over */
	while ((r = outcome_locked(h, m, out)) == -EAGAIN && !expired) {
		int64_t left = until < 0 ? -1 : until - time_now_ms();
		if (until >= 0 && left < 0)
			left = 0;
		if (!h->reading) {
			expired = read_locked(h, (int)left) == -EAGAIN;
			if (m) {
				ready_update_locked(h);
				pass_on_locked(h);
			}
		} else if (left == 0) {
			expired = true;
		} else {
			follow_locked(h, m, until);
		}
	}
	ready_update_locked(h);
	pass_on_locked(h);
	if (--h->users == 0)
		pthread_cond_signal(&h->left);
	pthread_mutex_unlock(&h->lock);
	return r;
}

void handler_enter(struct lacuna_handler *h)
{
	pthread_mutex_lock(&h->lock);
	h->users++;
	pthread_mutex_unlock(&h->lock);
}

void handler_leave(struct lacuna_handler *h)
{
	pthread_mutex_lock(&h->lock);
	if (--h->users == 0)
		pthread_cond_signal(&h->left);
	pthread_mutex_unlock(&h->lock);
}

int handler_send(struct lacuna_handler *h, const void *message, size_t length)
{
	pthread_mutex_lock(&h->sending);
	int r = message_send(h->socket, message, length);
	pthread_mutex_unlock(&h->sending);
	return r;
}

static int polled_add(struct lacuna_handler *h, int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	return fd >= 0 && epoll_ctl(h->poll, EPOLL_CTL_ADD, fd, &e) == 0 ? 0 : -errno;
}

struct lacuna_handler *handler_new(int socket, unsigned major, unsigned minor, int *error)
{
	struct lacuna_handler *h = calloc(1, sizeof(*h));
	pthread_condattr_t monotonic;
	if (!h) {
		close(socket);
		*error = -ENOMEM;
		return NULL;
	}
	h->socket = socket;
	h->major = major;
	h->minor = minor;
	h->last = &h->first;
	pthread_mutex_init(&h->lock, NULL);
	pthread_mutex_init(&h->sending, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&h->events, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_cond_init(&h->left, NULL);
	h->poll = epoll_create1(EPOLL_CLOEXEC);
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	h->ready = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = h->poll < 0 ? -errno : polled_add(h, h->wake);
	if (r == 0)
		r = polled_add(h, h->ready);
	if (r == 0)
		r = polled_add(h, h->socket);
	if (r == 0)
		return h;
	lacuna_close(h, 1);
	*error = r;
	return NULL;
}
