/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/events/event.h"
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fuse/base/caller.h"
#include "fuse/inode/inode.h"
#include "fuse/inode/names.h"
#include "fuse/inode/server.h"

/* Most threads are the first of their process: a signal 0 tells, in a hundredth of the time that
 * the status takes. */
static pid_t process_of(pid_t tid)
{
	char status[1024];
	if (syscall(SYS_tgkill, tid, tid, 0) == 0 || errno == EPERM)
		return tid;
	const char *found = caller_line(tid, "status", status, sizeof status)
	                            ? strstr(status, "\nTgid:\t")
	                            : NULL;
	return found ? atoi(found + 7) : tid;
}

long event_syscall(pid_t tid)
{
	char line[128];
	/* "running": the thread has asked, and is about to sleep */
	for (int tries = 0; tries < 3; tries++) {
		if (tid <= 0 || !caller_line(tid, "syscall", line, sizeof line))
			return -2;
		if (line[0] != 'r')
			break;
		sched_yield();
	}
	return g_ascii_isdigit(line[0]) || line[0] == '-' ? atol(line) : -2;
}

uint32_t event_operation(pid_t tid, uint32_t otherwise)
{
	switch (event_syscall(tid)) {
	case -2:
		return otherwise;
	case -1:
		return LACUNA_FAULT;
	case SYS_execve:
	case SYS_execveat:
		return LACUNA_EXEC;
	default:
		return LACUNA_READ;
	}
}

/* In mode holes a READ comes from the page cache. */
static uint32_t operation_of(const struct event *e)
{
	if (e->cause.operation == 0)
		return LACUNA_FILL;
	if (e->cause.operation != LACUNA_READ || e->every)
		return e->cause.operation;
	return event_operation(e->cause.pid, LACUNA_READ);
}

GArray *event_parents(struct server *s, const struct inode *i)
{
	GArray *parents = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	rwlock_rdlock(&s->names);
	if (i->parent)
		g_array_append_val(parents, i->parent->ino);
	GHashTableIter iter;
	gpointer next;
	if (names_has_aliases(i)) {
		g_hash_table_iter_init(&iter, i->extra->aliases);
		while (g_hash_table_iter_next(&iter, &next, NULL))
			g_array_append_val(parents, ((const struct alias *)next)->parent->ino);
	}
	rwlock_unlock(&s->names);
	return parents;
}

void event_describe(struct server *s, struct event *e, uint64_t id)
{
	struct inode *i = e->cause.owner;
	g_autofree char *path = inode_visible_path(s, i);
	size_t length = strnlen(path, LACUNA_MESSAGE_MAX - sizeof(struct lacuna_event));
	size_t whole = sizeof(struct lacuna_event) + length;
	mutex_lock(&i->lock);
	uint64_t size = i->size;
	mutex_unlock(&i->lock);
	e->link = (GList){.data = e};
	e->since_ns = clock_now();
	e->fd = -1;
	e->ino = i->ino;
	e->message = g_malloc(whole);
	*e->message = (struct lacuna_event){
	        .header = {.length = (uint32_t)whole, .type = LACUNA_EVENT, .id = id},
	        .offset = e->offset,
	        .length = e->length,
	        .size = size,
	        .ino = i->shown,
	        .operation = operation_of(e),
	        .pid = e->cause.pid ? (uint32_t)process_of(e->cause.pid) : 0,
	        .tid = (uint32_t)e->cause.pid,
	        .uid = e->cause.uid,
	        .path_length = (uint32_t)length,
	};
	memcpy(e->message->path, path, length);
}

void event_clear(struct event *e)
{
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
	g_clear_pointer(&e->message, g_free);
	g_clear_pointer(&e->parents, g_array_unref);
	g_clear_pointer(&e->supplied, g_array_unref);
}

bool event_deadlocks(const struct event *e, pid_t pid)
{
	char status[2048];
	if (pid <= 0 || (pid_t)e->message->pid != pid ||
	    !caller_line(pid, "status", status, sizeof status))
		return false;
	const char *threads = strstr(status, "\nThreads:\t");
	return threads && atoi(threads + 10) == 1;
}
