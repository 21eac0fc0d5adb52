/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "lib/handler.h"

enum { FAREWELL_MS = 2000 };

int lacuna_fd(const struct lacuna_handler *h)
{
	return h->poll;
}

uint64_t lacuna_refusals(const struct lacuna_handler *h)
{
	return atomic_load(&h->refusals);
}

void lacuna_stop(struct lacuna_handler *h)
{
	ERRNO_KEPT;
	atomic_store(&h->stopping, true);
	eventfd_set(h->wake);
}

/* The kernel's list: FAN_DENY_ERRNO() in fs/notify/fanotify/fanotify_user.c. */
static bool errno_fits(uint32_t verdict, int error)
{
	static const int list[] = {0, EPERM, EIO, EBUSY, ETXTBSY, EAGAIN, ENOSPC, EDQUOT};
	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++)
		if (error == list[i])
			return error == 0 || verdict == LACUNA_DENY;
	return false;
}

int lacuna_respond(struct lacuna_handler *h, struct lacuna_request *r, unsigned verdict, int error)
{
	ERRNO_KEPT;
	if (verdict < LACUNA_ALLOW || verdict > LACUNA_DENY || !errno_fits(verdict, error))
		return -EINVAL;
	const struct lacuna_answer answer = {
	        .header = {.length = sizeof(answer), .type = LACUNA_ANSWER, .id = r->id},
	        .verdict = verdict,
	        .error = (uint32_t)error};
	int sent = handler_send(h, &answer, sizeof(answer));
	queued_request_free((struct queued_request *)r);
	return sent;
}

int lacuna_next(struct lacuna_handler *h, int timeout_ms, struct lacuna_request **out)
{
	ERRNO_KEPT;
	struct queued_request *e;
	int r = handler_wait(h, NULL, timeout_ms, &e);
	if (r < 0)
		return r;
	if (e->request.fd < 0) {
		/* as in the kernel: the caller gets EPERM, the handler the reason */
		lacuna_respond(h, &e->request, LACUNA_DENY, 0);
		return -EMFILE;
	}
	*out = &e->request;
	return 0;
}

/* Leaves, and waits until the mount has noticed: the next handler to attach finds a free place. */
static void farewell(struct lacuna_handler *h)
{
	const struct lacuna_message detach = {.length = sizeof(detach), .type = LACUNA_DETACH};
	int64_t until = time_now_ms() + FAREWELL_MS, left = FAREWELL_MS;
	int r = handler_send(h, &detach, sizeof(detach));
	shutdown(h->socket, SHUT_WR);
	while (r == 0 && left > 0) {
		struct pollfd p = {.fd = h->socket, .events = POLLIN};
		inbox_clear(&h->inbox);
		if (poll(&p, 1, (int)left) > 0)
			r = inbox_receive(&h->inbox, h->socket);
		left = until - time_now_ms();
	}
}

void lacuna_close(struct lacuna_handler *h, int lost)
{
	ERRNO_KEPT;
	if (!h)
		return;
	lacuna_stop(h);
	pthread_mutex_lock(&h->lock);
	while (h->users)
		pthread_cond_wait(&h->left, &h->lock);
	pthread_mutex_unlock(&h->lock);
	if (!lost)
		farewell(h);
	while (h->first) {
		struct queued_request *e = h->first;
		h->first = e->next;
		queued_request_free(e);
	}
	inbox_clear(&h->inbox);
	int fds[] = {h->poll, h->wake, h->ready, h->socket};
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	pthread_cond_destroy(&h->events);
	pthread_cond_destroy(&h->left);
	pthread_mutex_destroy(&h->lock);
	pthread_mutex_destroy(&h->sending);
	free(h);
}
