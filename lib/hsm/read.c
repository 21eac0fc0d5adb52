/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "lib/hsm/abi.h"
#include "lib/hsm/hsm.h"

static size_t record_size(const struct group *g)
{
	return sizeof(struct fanotify_event_metadata) + sizeof(struct hsm_info_range) +
	       (g->flags & FAN_REPORT_PIDFD ? sizeof(struct hsm_info_pidfd) : 0);
}

static int pidfd_of(uint32_t pid)
{
	int fd = pid ? (int)real()->syscall(SYS_pidfd_open, (long)pid, 0L) : -1;
	if (fd >= 0)
		return fd;
	return pid == 0 || errno == ESRCH ? FAN_NOPIDFD : FAN_EPIDFD;
}

static void record_write(const struct group *g, const struct hsm_event *e, uint8_t *at)
{
	const struct lacuna_request *r = e->request;
	const struct fanotify_event_metadata m = {
	        .event_len = (uint32_t)record_size(g),
	        .vers = FANOTIFY_METADATA_VERSION,
	        .metadata_len = sizeof(m),
	        .mask = HSM_PRE_ACCESS,
	        .fd = e->fd,
	        .pid = (int32_t)(g->flags & FAN_REPORT_TID ? r->tid : r->pid)};
	const struct hsm_info_range range = {
	        .header = {.type = HSM_INFO_RANGE, .length = sizeof(range)},
	        .offset = r->offset,
	        .count = r->length};
	memcpy(at, &m, sizeof(m));
	at += sizeof(m);
	if (g->flags & FAN_REPORT_PIDFD) {
		const struct hsm_info_pidfd p = {
		        .header = {.type = HSM_INFO_PIDFD, .length = sizeof(p)},
		        .pidfd = pidfd_of(r->pid)};
		memcpy(at, &p, sizeof(p));
		at += sizeof(p);
	}
	memcpy(at, &range, sizeof(range));
}

/* Reopens the descriptor with fanotify_init()'s event_f_flags, under the same, lowest number. */
static void descriptor_open(const struct group *g, int fd)
{
	const unsigned how = O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC;
	char path[32];
	if ((g->event_flags & how) != O_RDWR) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		int other = real()->open(path, (int)(g->event_flags & how) | O_CLOEXEC);
		if (other >= 0) {
			real()->dup3(other, fd, O_CLOEXEC);
			real()->close(other);
		}
	}
	if (!(g->event_flags & O_CLOEXEC))
		real()->fcntl(fd, F_SETFD, 0);
}

static void event_give(struct group *g, struct hsm_event *e, uint8_t *at)
{
	e->fd = e->request->fd;
	descriptor_open(g, e->fd);
	e->file = file_put(e->from, e->request);
	e->request->fd = -1;
	record_write(g, e, at);
	e->next = g->given;
	g->given = e;
}

static void ready_set(const struct group *g, bool ready)
{
	uint64_t count = 1;
	ssize_t n = ready ? real()->write(g->ready, &count, sizeof(count))
	                  : real()->read(g->ready, &count, sizeof(count));
	(void)n;
}

/* From any mount that has one. -EAGAIN: none. */
static int event_fetch(struct group *g, struct hsm_event **out)
{
	int r = -EAGAIN;
	for (struct connection *c = g->connections, *next; c && r == -EAGAIN; c = next) {
		next = c->next;
		r = connection_next(g, c, out);
		if (r == -ECONNRESET)
			r = -EAGAIN;
	}
	return r;
}

/* Appends the next event to the queue. */
static int event_queue(struct group *g)
{
	struct hsm_event *e, **end = &g->queue;
	int r = event_fetch(g, &e);
	if (r < 0)
		return r;
	if (!g->queue)
		ready_set(g, true);
	while (*end)
		end = &(*end)->next;
	*end = e;
	return 0;
}

static struct hsm_event *event_pop(struct group *g)
{
	struct hsm_event *e = g->queue;
	g->queue = e->next;
	if (!g->queue)
		ready_set(g, false);
	return e;
}

/* The next event; -EINVAL: it does not fit into `capacity`, and stays. */
static int event_take(struct group *g, size_t capacity, struct hsm_event **out)
{
	int r = -EAGAIN;
	while (g->queue && !g->queue->from)
		event_drop(event_pop(g)); /* its mount has gone */
	if (g->queue || capacity < record_size(g)) {
		r = g->queue ? 0 : event_queue(g);
		if (r == 0 && capacity < record_size(g))
			r = -EINVAL;
		if (r == 0)
			*out = event_pop(g);
		return r;
	}
	return event_fetch(g, out);
}

/* As many events as fit, without waiting. */
static ssize_t events_collect(struct group *g, uint8_t *buffer, size_t size)
{
	struct hsm_event *e;
	size_t done = 0;
	int r;
	while ((done == 0 || size - done >= record_size(g)) &&
	       (r = event_take(g, size - done, &e)) == 0) {
		event_give(g, e, buffer + done);
		done += record_size(g);
	}
	if (g->kernel >= 0 && (done || r == -EAGAIN)) {
		ssize_t n = kernel_read(g, buffer + done, size - done);
		if (n > 0)
			done += (size_t)n;
		else if (n < 0)
			r = (int)n;
	}
	return done ? (ssize_t)done : r;
}

/* read(2) continues after a handler with SA_RESTART, poll(2) does not. The handler that ran is
 * unknown: the read continues if all handlers are of that kind. */
static bool signals_restart(void)
{
	struct sigaction a;
	for (int i = 1; i < NSIG; i++)
		if (sigaction(i, NULL, &a) == 0 && a.sa_handler != SIG_DFL &&
		    a.sa_handler != SIG_IGN && !(a.sa_flags & SA_RESTART))
			return false;
	return true;
}

/* The group of a descriptor, counted, and the lock; NULL: not a group's, and no lock. */
static struct group *group_enter(int fd, sigset_t *before)
{
	if (!table_knows(fd))
		return NULL;
	*before = hsm_lock();
	const struct entry *e = table_get(fd);
	if (e->kind == ENTRY_GROUP) {
		group_ref(e->group);
		return e->group;
	}
	hsm_unlock(before);
	return NULL;
}

static ssize_t group_exit(struct group *g, const sigset_t *before, ssize_t result)
{
	group_unref(g);
	hsm_unlock(before);
	while (process_leaves()) /* the process ends: its threads notice nothing */
		pause();
	return result;
}

ssize_t group_read(int fd, void *buffer, size_t size)
{
	sigset_t before;
	struct group *g = group_enter(fd, &before);
	if (!g)
		return NOT_A_GROUP;
	for (;;) {
		struct pollfd p = {.fd = g->epoll, .events = POLLIN};
		ssize_t n = g->left ? -EBADF : events_collect(g, buffer, size);
		if (n != -EAGAIN || real()->fcntl(fd, F_GETFL) & O_NONBLOCK)
			return group_exit(g, &before, n);
		hsm_unlock(&before);
		n = real()->poll(&p, 1, -1) < 0 && errno == EINTR && !signals_restart() ? -EINTR
		                                                                        : 0;
		before = hsm_lock();
		if (n < 0)
			return group_exit(g, &before, n);
	}
}

bool group_ready(struct group *g)
{
	struct pollfd p = {.fd = g->kernel, .events = POLLIN};
	sigset_t before = hsm_lock();
	bool ready = g->left || g->queue || event_queue(g) == 0 ||
	             (g->kernel >= 0 && real()->poll(&p, 1, 0) > 0);
	hsm_unlock(&before);
	return ready;
}

static struct hsm_event **event_find(struct group *g, int fd)
{
	struct hsm_event **at = &g->given, **found = NULL;
	for (; *at; at = &(*at)->next)
		if ((*at)->fd == fd)
			found = at; /* the oldest, as in the kernel */
	return found;
}

static ssize_t event_answer(struct group *g, const void *data, size_t size)
{
	bool allow;
	int fd, error;
	size_t taken;
	int r = rules_response(data, size, g->flags, &fd, &allow, &error, &taken);
	if (r != 0)
		return r < 0 ? r : (ssize_t)taken;
	struct hsm_event **at = event_find(g, fd);
	if (!at && g->kernel >= 0) {
		ssize_t n = real()->write(g->kernel, data, size);
		return n < 0 ? -errno : n;
	}
	if (!at)
		return -ENOENT;
	struct hsm_event *e = *at;
	*at = e->next;
	if (e->from) {
		connection_answer(e->from, e->request, allow, error);
		e->request = NULL;
	}
	event_drop(e);
	return (ssize_t)taken;
}

ssize_t group_write(int fd, const void *data, size_t size)
{
	sigset_t before;
	struct group *g = group_enter(fd, &before);
	if (!g)
		return NOT_A_GROUP;
	return group_exit(g, &before, g->left ? -EBADF : event_answer(g, data, size));
}

int group_bytes(struct group *g)
{
	int bytes = 0, others = 0;
	sigset_t before = hsm_lock();
	while (event_queue(g) == 0)
		;
	for (const struct hsm_event *e = g->queue; e; e = e->next)
		bytes += (int)record_size(g);
	if (g->kernel >= 0 && real()->ioctl(g->kernel, FIONREAD, &others) == 0)
		bytes += others;
	hsm_unlock(&before);
	return bytes;
}
