/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Waiting. A group's descriptor can be polled without help; but it is also readable when a mount
 * sent something other than an event, and then a program may not expect read(2) to block. */
#include <poll.h>
#include <stdlib.h>
#include <sys/select.h>
#include <time.h>
#include "lib/hsm/hooks.h"

static bool helps(void)
{
	return !hsm_inside && table_ours();
}

static bool descriptor_ready(int fd)
{
	struct group *g = hook_group(fd);
	if (!g)
		return true;
	bool ready = group_ready(g);
	hook_group_put(g);
	return ready;
}

static struct timespec time_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t;
}

/* The rest of `whole` since `start`; NULL: no end. */
static const struct timespec *time_left(const struct timespec *whole, const struct timespec *start,
                                        struct timespec *left)
{
	struct timespec now = time_now();
	if (!whole)
		return NULL;
	int64_t ns = (whole->tv_sec - (now.tv_sec - start->tv_sec)) * 1000000000 + whole->tv_nsec -
	             (now.tv_nsec - start->tv_nsec);
	if (ns < 0)
		ns = 0;
	*left = (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
	return left;
}

/* Corrects the number of ready descriptors: a group without an event is not ready. */
static int polled_check(struct pollfd *fds, nfds_t count, int ready)
{
	for (nfds_t i = 0; i < count; i++) {
		if (fds[i].fd < 0 || !(fds[i].revents & (POLLIN | POLLRDNORM)) ||
		    descriptor_ready(fds[i].fd))
			continue;
		fds[i].revents &= ~(POLLIN | POLLRDNORM);
		ready -= fds[i].revents == 0;
	}
	return ready;
}

static int wait_poll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                     const sigset_t *mask)
{
	struct timespec start = time_now(), left;
	for (;;) {
		const struct timespec *now = time_left(timeout, &start, &left);
		int ready = real()->ppoll(fds, count, now, mask);
		if (ready <= 0)
			return ready;
		ready = polled_check(fds, count, ready);
		if (ready > 0 || (now && now->tv_sec == 0 && now->tv_nsec == 0))
			return ready;
	}
}

static int selected_check(int count, fd_set *readable, int ready)
{
	for (int fd = 0; readable && fd < count && fd < FD_SETSIZE; fd++)
		if (FD_ISSET(fd, readable) && !descriptor_ready(fd)) {
			FD_CLR(fd, readable);
			ready--;
		}
	return ready;
}

static int wait_select(int count, fd_set *sets[3], const struct timespec *timeout,
                       const sigset_t *mask)
{
	struct timespec start = time_now(), left;
	fd_set wanted[3];
	for (int i = 0; i < 3; i++)
		if (sets[i])
			wanted[i] = *sets[i];
	for (;;) {
		const struct timespec *now = time_left(timeout, &start, &left);
		int ready = real()->pselect(count, sets[0], sets[1], sets[2], now, mask);
		if (ready <= 0)
			return ready;
		ready = selected_check(count, sets[0], ready);
		if (ready > 0 || (now && now->tv_sec == 0 && now->tv_nsec == 0))
			return ready;
		for (int i = 0; i < 3; i++)
			if (sets[i])
				*sets[i] = wanted[i];
	}
}

HOOK(int, hook_poll, "poll", (struct pollfd * fds, nfds_t count, int timeout))
{
	const struct timespec t = {.tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000L};
	if (!helps())
		return real()->poll(fds, count, timeout);
	return wait_poll(fds, count, timeout < 0 ? NULL : &t, NULL);
}

HOOK(int, hook_ppoll, "ppoll",
     (struct pollfd * fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask))
{
	if (!helps())
		return real()->ppoll(fds, count, timeout, mask);
	return wait_poll(fds, count, timeout, mask);
}

HOOK(int, hook_poll_chk, "__poll_chk",
     (struct pollfd * fds, nfds_t count, int timeout, size_t capacity))
{
	if (capacity / sizeof(*fds) < count)
		abort();
	return hook_poll(fds, count, timeout);
}

HOOK(int, hook_ppoll_chk, "__ppoll_chk",
     (struct pollfd * fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask,
      size_t capacity))
{
	if (capacity / sizeof(*fds) < count)
		abort();
	return hook_ppoll(fds, count, timeout, mask);
}

/* select(2) may change `timeout`; here it stays as it was. */
HOOK(int, hook_select, "select",
     (int count, fd_set *readable, fd_set *writable, fd_set *urgent, struct timeval *timeout))
{
	struct timespec t = {0};
	fd_set *sets[3] = {readable, writable, urgent};
	if (!helps() || (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0)))
		return real()->select(count, readable, writable, urgent, timeout);
	if (timeout)
		t = (struct timespec){.tv_sec = timeout->tv_sec + timeout->tv_usec / 1000000,
		                      .tv_nsec = timeout->tv_usec % 1000000 * 1000};
	return wait_select(count, sets, timeout ? &t : NULL, NULL);
}

HOOK(int, hook_pselect, "pselect",
     (int count, fd_set *readable, fd_set *writable, fd_set *urgent, const struct timespec *timeout,
      const sigset_t *mask))
{
	fd_set *sets[3] = {readable, writable, urgent};
	if (!helps())
		return real()->pselect(count, readable, writable, urgent, timeout, mask);
	return wait_select(count, sets, timeout, mask);
}
