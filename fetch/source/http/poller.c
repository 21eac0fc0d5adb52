/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/http/poller.h"
#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct watch {
	uint32_t wanted, known; /* known: what epoll has; 0 = not in it */
	bool changed;           /* is in `changes` */
};

struct poller {
	int epoll, wake;
	GArray *watches; /* of struct watch, by fd */
	GArray *changes; /* of int: fds whose wanted and known may differ */
};

struct poller *poller_new(void)
{
	struct poller *p = g_new0(struct poller, 1);
	struct epoll_event event = {.events = EPOLLIN};
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->watches = g_array_new(FALSE, TRUE, sizeof(struct watch));
	p->changes = g_array_new(FALSE, FALSE, sizeof(int));
	event.data.fd = p->wake;
	if (p->epoll >= 0 && p->wake >= 0 &&
	    epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->wake, &event) == 0)
		return p;
	int saved = errno;
	poller_free(p);
	errno = saved;
	return NULL;
}

void poller_free(struct poller *p)
{
	if (p == NULL)
		return;
	if (p->epoll >= 0)
		close(p->epoll);
	if (p->wake >= 0)
		close(p->wake);
	g_array_unref(p->watches);
	g_array_unref(p->changes);
	g_free(p);
}

static struct watch *watch_of(struct poller *p, int fd)
{
	if ((guint)fd >= p->watches->len)
		g_array_set_size(p->watches, (guint)fd + 1);
	return &g_array_index(p->watches, struct watch, fd);
}

void poller_watch(struct poller *p, int fd, uint32_t events)
{
	struct watch *w = watch_of(p, fd);
	w->wanted = events;
	if (w->changed || events == 0 || events == w->known)
		return;
	w->changed = true;
	g_array_append_val(p->changes, fd);
}

void poller_forget(struct poller *p, int fd)
{
	struct watch *w = watch_of(p, fd);
	if (w->known != 0)
		epoll_ctl(p->epoll, EPOLL_CTL_DEL, fd, NULL);
	w->wanted = 0;
	w->known = 0;
}

/* Interest that ended is left in epoll until it fires: a pooled connection's next request
 * finds it there, and a server that closes the connection costs one idle wake-up. */
static void watch_apply(struct poller *p, int fd)
{
	struct watch *w = watch_of(p, fd);
	struct epoll_event event = {.events = w->wanted, .data.fd = fd};
	w->changed = false;
	if (w->wanted == 0 || w->wanted == w->known)
		return;
	if (epoll_ctl(p->epoll, w->known != 0 ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0)
		w->known = w->wanted;
}

static bool event_wanted(struct poller *p, int fd)
{
	struct watch *w = watch_of(p, fd);
	if (w->wanted != 0)
		return true;
	epoll_ctl(p->epoll, EPOLL_CTL_DEL, fd, NULL);
	w->known = 0;
	return false;
}

int poller_wait(struct poller *p, int timeout_ms, struct poller_event *out, int max)
{
	struct epoll_event events[64];
	int kept = 0;
	for (guint i = 0; i < p->changes->len; i++)
		watch_apply(p, g_array_index(p->changes, int, i));
	g_array_set_size(p->changes, 0);
	int ready = epoll_wait(p->epoll, events, MIN(max, (int)G_N_ELEMENTS(events)), timeout_ms);
	for (int i = 0; i < ready; i++) {
		int fd = events[i].data.fd;
		uint64_t count;
		if (fd == p->wake) {
			if (read(p->wake, &count, sizeof(count)) < 0)
				g_assert(errno == EAGAIN);
		} else if (event_wanted(p, fd)) {
			out[kept++] = (struct poller_event){.fd = fd, .events = events[i].events};
		}
	}
	return kept;
}

void poller_wake(struct poller *p)
{
	uint64_t one = 1;
	if (write(p->wake, &one, sizeof(one)) < 0)
		g_assert(errno == EAGAIN || errno == EINTR);
}
