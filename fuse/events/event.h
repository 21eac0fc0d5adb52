/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One pre-content event: its file, range and caller, and its progress through the handlers.
 * Owns:    its message and its scratch file
 * Locking: from registry_ask() to `done` the registry's (registry.h), under its lock
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include "fetch/source/wrap/interceptor.h"
#include "lacuna/precontent.h"

struct handler;
struct inode;
struct server;

struct event { /* zeroed; embedded in the asking request, which sets the fields up to `done` */
	uint64_t offset, length;
	struct source_cause cause; /* `owner`: the inode */
	bool every;                /* for handlers of mode every */
	bool cached;               /* the data is for the page cache */
	/* The verdict, on any thread, no lock held: takes over the scratch file `fd` (-1: none) */
	void (*done)(struct event *e, enum verdict verdict, int error, int fd);

	struct lacuna_event *message; /* owned; with the path */
	uint64_t ino;                 /* the inode's; the message has the one that stat(2) shows */
	GArray *parents;              /* owned; of uint64_t: the directories of the file */
	GArray *supplied;             /* owned; of struct extent: before a content handler got it */
	struct handler *with;         /* the handler that has it, or is to get it; NULL: none */
	GList link;                   /* in a queue of that handler */
	struct handler *by;           /* the last handler that answered: it stays while `commits` */
	uint64_t passed;              /* rank of the last handler that passed it on; 0: none */
	int64_t since_ns, until_ns;   /* when it was asked; when the answer is due */
	int fd;                       /* owned; the scratch file; -1: none yet */
	enum verdict verdict;         /* the final one, with its positive errno */
	int error;
	bool unasked; /* no handler was asked: for tracers only */
	bool commits; /* registry_committed() is to be called */
	bool allowed; /* a handler claims that it supplied the data */
	bool fetch;   /* a handler wants the source to fetch absent data */
};

/* Describes file, range and caller in the message, from the first fields. May read /proc. */
void event_describe(struct server *s, struct event *e, uint64_t id);
void event_clear(struct event *e);
/* The directories in which the inode has a name: of uint64_t. */
GArray *event_parents(struct server *s, const struct inode *i);
/* Is the asking process, for certain, the only thread of `pid`, the handler that has to answer? */
bool event_deadlocks(const struct event *e, pid_t pid);
/* The operation of a thread that reads into the page cache; `otherwise`: unknown. */
uint32_t event_operation(pid_t tid, uint32_t otherwise);
/* The system call of the thread: its number; -1: a page fault; -2: unknown. */
long event_syscall(pid_t tid);
