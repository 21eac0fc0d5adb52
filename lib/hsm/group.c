/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "lib/hsm/abi.h"
#include "lib/hsm/hsm.h"

static struct group *groups;

struct group *group_next(const struct group *before)
{
	return before ? before->next : groups;
}

int group_watch(struct group *g, int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	return epoll_ctl(g->epoll, EPOLL_CTL_ADD, fd, &e) == 0 ? 0 : -errno;
}

static void group_free(struct group *g)
{
	hidden_close(g->kernel);
	hidden_close(g->ready);
	hidden_close(g->epoll);
	hidden_close(g->held);
	free(g);
}

/* Makes its hidden descriptors. */
static int group_fill(struct group *g, int epoll)
{
	g->epoll = hidden_keep(real()->fcntl(epoll, F_DUPFD_CLOEXEC, 0));
	if (g->epoll < 0)
		return -EMFILE;
	g->ready = hidden_keep(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (g->ready < 0)
		return -EMFILE;
	g->held = held_new();
	return g->held < 0 ? g->held : group_watch(g, g->ready);
}

int group_new(unsigned flags, unsigned event_flags)
{
	struct group *g = calloc(1, sizeof(*g));
	int fd = epoll_create1(flags & FAN_CLOEXEC ? EPOLL_CLOEXEC : 0);
	int r = fd < 0 ? -errno : 0;
	if (!g)
		r = -ENOMEM;
	if (r == 0) {
		*g = (struct group){.refs = 1,
		                    .flags = flags,
		                    .event_flags = event_flags,
		                    .epoll = -1,
		                    .ready = -1,
		                    .held = -1,
		                    .kernel = -1};
		r = group_fill(g, fd);
		if (r == 0 && flags & FAN_NONBLOCK && real()->fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
			r = -errno;
		if (r == 0 && flags & FAN_ENABLE_AUDIT && group_kernel(g) < 0)
			r = group_kernel(g); /* this takes a privilege that only the kernel knows */
		if (r == 0)
			r = table_set(fd, (struct entry){.kind = ENTRY_GROUP, .group = g});
		if (r == 0) {
			g->descriptors = 1;
			g->next = groups;
			groups = g;
			return fd;
		}
		group_free(g);
		g = NULL;
	}
	free(g);
	if (fd >= 0)
		real()->close(fd);
	return r;
}

void group_ref(struct group *g)
{
	g->refs++;
}

void group_unref(struct group *g)
{
	if (--g->refs == 0)
		group_free(g);
}

/* Leaves the mounts and drops the program's events; a thread in a call finds the group closed. */
static void group_leave(struct group *g)
{
	bool lost = held_by_others(g->held);
	struct group **at = &groups;
	if (g->left)
		return;
	g->left = true;
	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	while (g->queue || g->given) {
		struct hsm_event **first = g->queue ? &g->queue : &g->given, *e = *first;
		*first = e->next;
		event_drop(e);
	}
	while (g->connections) {
		struct connection *c = g->connections;
		g->connections = c->next;
		connection_free(c, lost);
	}
	hidden_close(g->kernel);
	g->kernel = -1;
}

void group_opened(struct group *g)
{
	g->descriptors++;
	g->refs++;
}

void group_closed(struct group *g)
{
	if (--g->descriptors == 0)
		group_leave(g);
	group_unref(g);
}

void groups_leave(void)
{
	while (groups)
		group_leave(groups);
}

int group_kernel(struct group *g)
{
	if (g->kernel >= 0)
		return g->kernel;
	int fd = real()->fanotify_init(g->flags | FAN_CLOEXEC | FAN_NONBLOCK, g->event_flags);
	if (fd < 0)
		return -errno;
	fd = hidden_keep(fd);
	if (fd < 0)
		return -EMFILE;
	int r = group_watch(g, fd);
	if (r < 0) {
		hidden_close(fd);
		return r;
	}
	return g->kernel = fd;
}
