/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One pre-content event: who wants what of which file, and how far it has come.
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

struct event { /* zeroed; embedded by who asks, who fills in the first four */
	uint64_t offset, length;
	struct source_cause cause; /* `owner`: the inode */
	bool every;                /* for handlers of that mode */
	bool cached;               /* what is wanted is for the page cache */
	/* The answer, on any thread, no lock held: takes over `fd`, of the scratch file (-1: none)
	 */
	void (*done)(struct event *e, enum verdict verdict, int error, int fd);

	struct lacuna_event *message; /* owned; with the path */
	uint64_t ino;                 /* the inode's; the message has what stat(2) tells */
	GArray *parents;              /* owned; of uint64_t: the directories it is in */
	GArray *brought;              /* owned; of struct extent: when who brings none got it */
	struct handler *with;         /* has it, or is to get it; NULL: nobody */
	GList link;                   /* in a queue of that handler's */
	struct handler *by;           /* whose answer was the last: it stays while `commits` */
	uint64_t passed;              /* rank of the last handler who let it pass; 0: none */
	int64_t since_ns, until_ns;   /* asked; the answer is due */
	int fd;                       /* owned; the scratch file; -1: none yet */
	enum verdict verdict;         /* the end of it, with its positive errno */
	int error;
	bool unasked; /* told to who traces alone */
	bool commits; /* registry_committed() is to be called */
	bool allowed; /* a handler said that it brought the bytes */
	bool fetch;   /* one wants the source to bring what is not here */
};

/* Who, what, where: made of the first fields. May read /proc. */
void event_describe(struct server *s, struct event *e, uint64_t id);
void event_clear(struct event *e);
/* The directories that the inode has a name in: of uint64_t. */
GArray *event_parents(struct server *s, const struct inode *i);
/* Is it certain that the process which asks is the only thread of `pid`, who would have to answer?
 */
bool event_deadlocks(const struct event *e, pid_t pid);
/* What a thread that reads into the page cache is doing: `otherwise` where it cannot be told. */
uint32_t event_operation(pid_t tid, uint32_t otherwise);
/* The call of the thread, where it can be told: its number, -1 in a page fault, -2 unknown. */
long event_syscall(pid_t tid);
