/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Calls that copy and close descriptors. */
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <stdarg.h>
#include <unistd.h>
#include "lib/hsm/hooks.h"

/* Under the lock. Hidden descriptors do not exist for the program. */
static int descriptor_close(int fd)
{
	const struct entry *e = table_get(fd);
	if (e->kind == ENTRY_HIDDEN)
		return -EBADF;
	/* Out of the table first: another thread may get the number at once */
	table_set(fd, (struct entry){.kind = ENTRY_NONE});
	return real()->close(fd) == 0 ? 0 : -errno;
}

/* Under the lock: `to` has become a copy of the descriptor `from`. */
static void descriptor_copied(int from, int to)
{
	struct entry e = *table_get(from);
	if (e.kind == ENTRY_GROUP)
		group_opened(e.group);
	else if (e.kind == ENTRY_FILE)
		e.file->refs++;
	else
		e.kind = ENTRY_NONE;
	table_set(to, e);
}

HOOK(int, hook_close, "close", (int fd))
{
	if (!table_knows(fd))
		return real()->close(fd);
	sigset_t before = hsm_lock();
	int r = descriptor_close(fd);
	hsm_unlock(&before);
	return (int)hook_return(r);
}

/* In pieces, around the hidden descriptors. */
HOOK(int, hook_close_range, "close_range", (unsigned first, unsigned last, int flags))
{
	int known = first <= INT_MAX ? table_next((int)first, last < INT_MAX ? (int)last : INT_MAX)
	                             : -1;
	int r = 0;
	if (known < 0 || !table_knows(known) || flags & ~CLOSE_RANGE_CLOEXEC || first > last)
		return real()->close_range(first, last, flags);
	sigset_t before = hsm_lock();
	while (r == 0 && first <= last) {
		known = table_next((int)first, last < INT_MAX ? (int)last : INT_MAX);
		unsigned end = known < 0 ? last : (unsigned)known - 1;
		if (known != (int)first && real()->close_range(first, end, flags) != 0)
			r = -errno;
		if (known < 0)
			break;
		first = (unsigned)known + 1;
		if (table_get(known)->kind == ENTRY_HIDDEN)
			continue;
		if (flags & CLOSE_RANGE_CLOEXEC)
			real()->fcntl(known, F_SETFD, FD_CLOEXEC);
		else
			descriptor_close(known);
	}
	hsm_unlock(&before);
	return (int)hook_return(r);
}

HOOK(void, hook_closefrom, "closefrom", (int first))
{
	hook_close_range(first < 0 ? 0 : (unsigned)first, UINT_MAX, 0);
}

HOOK(int, hook_dup, "dup", (int fd))
{
	if (!table_knows(fd))
		return real()->dup(fd);
	sigset_t before = hsm_lock();
	int made = real()->dup(fd), r = made < 0 ? -errno : made;
	if (made >= 0)
		descriptor_copied(fd, made);
	hsm_unlock(&before);
	return (int)hook_return(r);
}

HOOK(int, hook_dup3, "dup3", (int fd, int to, int flags))
{
	if (!table_knows(fd) && !table_knows(to))
		return real()->dup3(fd, to, flags);
	sigset_t before = hsm_lock();
	int r = -EBUSY; /* hidden: the program has to take another number */
	if (table_get(to)->kind != ENTRY_HIDDEN) {
		r = real()->dup3(fd, to, flags);
		if (r < 0)
			r = -errno;
		else
			descriptor_copied(fd, to);
	}
	hsm_unlock(&before);
	return (int)hook_return(r);
}

HOOK(int, hook_dup2, "dup2", (int fd, int to))
{
	if (fd == to || (!table_knows(fd) && !table_knows(to)))
		return real()->dup2(fd, to);
	return hook_dup3(fd, to, 0);
}

HOOK(int, hook_fcntl, "fcntl", (int fd, int command, ...))
{
	va_list arguments;
	va_start(arguments, command);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	if ((command != F_DUPFD && command != F_DUPFD_CLOEXEC) || !table_knows(fd))
		return real()->fcntl(fd, command, argument);
	sigset_t before = hsm_lock();
	int made = real()->fcntl(fd, command, argument), r = made < 0 ? -errno : made;
	if (made >= 0)
		descriptor_copied(fd, made);
	hsm_unlock(&before);
	return (int)hook_return(r);
}
HOOK_ALSO(int, hook_fcntl64, "fcntl64", (int fd, int command, ...), "fcntl")

HOOK(void, hook__exit, "_exit", (int status))
{
	process_leave();
	real()->_exit(status);
	__builtin_unreachable();
}
HOOK_ALSO(void, hook__Exit, "_Exit", (int status), "_exit")
