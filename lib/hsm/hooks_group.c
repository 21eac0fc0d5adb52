/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Calls on a group: fanotify_init(), fanotify_mark(), read(), write(), ioctl(). */
#include <limits.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include "lib/hsm/abi.h"
#include "lib/hsm/hooks.h"

struct group *hook_group(int fd)
{
	struct group *g = NULL;
	if (!table_knows(fd))
		return NULL;
	sigset_t before = hsm_lock();
	const struct entry *e = table_get(fd);
	if (e->kind == ENTRY_GROUP) {
		g = e->group;
		group_ref(g);
	}
	hsm_unlock(&before);
	return g;
}

void hook_group_put(struct group *g)
{
	sigset_t before = hsm_lock();
	group_unref(g);
	hsm_unlock(&before);
}

static int init(unsigned flags, unsigned event_flags)
{
	if ((flags & HSM_CLASS_BITS) != FAN_CLASS_PRE_CONTENT)
		return real()->fanotify_init(flags, event_flags);
	int r = rules_init(flags, event_flags);
	if (r == 0) {
		sigset_t before = hsm_lock();
		r = group_new(flags, event_flags);
		hsm_unlock(&before);
	}
	return (int)hook_return(r);
}

static int mark(int fd, unsigned flags, uint64_t mask, int dfd, const char *path)
{
	struct group *g = hook_group(fd);
	if (!g)
		return real()->fanotify_mark(fd, flags, mask, dfd, path);
	int r = group_mark(g, flags, mask, dfd, path);
	hook_group_put(g);
	return (int)hook_return(r);
}

/* Part by part, as in the kernel, which has no vectors for groups. */
static ssize_t group_vector(int fd, const struct iovec *iov, int count, bool writes)
{
	ssize_t done = 0;
	if (!table_knows(fd) || table_kind(fd) != ENTRY_GROUP)
		return NOT_A_GROUP;
	if (count < 0 || count > IOV_MAX)
		return -EINVAL;
	for (int i = 0; i < count; i++) {
		ssize_t n = writes ? group_write(fd, iov[i].iov_base, iov[i].iov_len)
		                   : group_read(fd, iov[i].iov_base, iov[i].iov_len);
		if (n < 0)
			return done ? done : n;
		done += n;
		if ((size_t)n != iov[i].iov_len)
			break;
	}
	return done;
}

HOOK(int, hook_fanotify_init, "fanotify_init", (unsigned flags, unsigned event_flags))
{
	return init(flags, event_flags);
}

HOOK(int, hook_fanotify_mark, "fanotify_mark",
     (int fd, unsigned flags, uint64_t mask, int dfd, const char *path))
{
	return mark(fd, flags, mask, dfd, path);
}

HOOK(ssize_t, hook_read, "read", (int fd, void *buffer, size_t size))
{
	ssize_t n = group_read(fd, buffer, size);
	return n == NOT_A_GROUP ? real()->read(fd, buffer, size) : hook_return(n);
}

HOOK(ssize_t, hook_read_chk, "__read_chk", (int fd, void *buffer, size_t size, size_t capacity))
{
	if (size > capacity)
		return real()->__read_chk(fd, buffer, size, capacity);
	return hook_read(fd, buffer, size);
}

HOOK(ssize_t, hook_readv, "readv", (int fd, const struct iovec *iov, int count))
{
	ssize_t n = group_vector(fd, iov, count, false);
	return n == NOT_A_GROUP ? real()->readv(fd, iov, count) : hook_return(n);
}

HOOK(ssize_t, hook_write, "write", (int fd, const void *data, size_t size))
{
	ssize_t n = group_write(fd, data, size);
	return n == NOT_A_GROUP ? real()->write(fd, data, size) : hook_return(n);
}

HOOK(ssize_t, hook_writev, "writev", (int fd, const struct iovec *iov, int count))
{
	ssize_t n = group_vector(fd, iov, count, true);
	return n == NOT_A_GROUP ? real()->writev(fd, iov, count) : hook_return(n);
}

HOOK(int, hook_ioctl, "ioctl", (int fd, unsigned long request, ...))
{
	va_list arguments;
	va_start(arguments, request);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	struct group *g = request == FIONREAD ? hook_group(fd) : NULL;
	if (!g)
		return real()->ioctl(fd, request, argument);
	*(int *)argument = group_bytes(g);
	hook_group_put(g);
	return 0;
}

HOOK(long, hook_syscall, "syscall", (long number, ...))
{
	long a[6];
	va_list arguments;
	va_start(arguments, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(arguments, long);
	va_end(arguments);
	switch (hsm_inside ? -1 : number) {
	case SYS_fanotify_init:
		return init((unsigned)a[0], (unsigned)a[1]);
	case SYS_fanotify_mark:
		return mark((int)a[0], (unsigned)a[1], (uint64_t)a[2], (int)a[3],
		            (const char *)a[4]);
	case SYS_read:
		return hook_read((int)a[0], (void *)a[1], (size_t)a[2]);
	case SYS_write:
		return hook_write((int)a[0], (const void *)a[1], (size_t)a[2]);
	default:
		return real()->syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	}
}
