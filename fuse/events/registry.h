/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The attached handlers (lacuna/precontent.h), and the events that each of them has to answer.
 *
 *      event ──▶ unsent ──▶ sent ──answer──▶ to the next handler … ──▶ done
 *                  ▲          │ its connection ended, or it took too long
 *                  └──────────┘ and a handler of that name came back
 *
 * Shape:   an event goes to one handler after the other by rank: pre-content before content, then
 *          in the order they attached. The first denial ends it. A lost handler keeps its place
 *          and its marks, mute (-o handler_lost=wait), until it comes back
 * Locking: one mutex, held across no answer and no blocking call; inside it only marks, and
 *          sockets that are asked not to block
 * Errors:  to handlers, by RESULT
 */
#pragma once
#include "fuse/base/settings.h"
#include "fuse/events/event.h"

struct registry;

struct registry *registry_new(struct server *s);
/* The mount ends: handlers that leave no longer wait for commits. */
void registry_hurry(struct registry *all);
void registry_free(struct registry *all); /* once no handler is served any more */

/* For the source's interceptor; user: struct registry. */
extern const struct interceptor_ops registry_interceptor;

/* Would a handler be asked for this file? Cheap while none is attached. */
bool registry_any(const struct registry *all);
bool registry_want(struct registry *all, struct inode *i, bool every);
/* false: no handler is to be asked. true: e->done() is called once, not within this call. The inode
 * lives until then. */
bool registry_ask(struct registry *all, struct event *e);
/* true: e->done() will not be called. */
bool registry_withdraw(struct registry *all, struct event *e);

/* The inode number is free: as in the kernel, marks go with their file. */
void registry_forget(struct registry *all, uint64_t ino);

/* For an event that `commits`: its data is in the file, or is not (a positive errno). */
void registry_committed(struct registry *all, const struct event *e, int error);

struct handler_options {
	bool every, content;
	uint32_t backlog; /* 0: LACUNA_BACKLOG */
	const char *name; /* borrowed */
};

/* Handlers, lost ones included, and their marks: each stays in memory after its process. */
#define REGISTRY_HANDLERS 256
#define REGISTRY_MARKS (1u << 20)

/* A connection after its attach line; `fd` is borrowed until handler_serve(), which must be called,
 * returns. NULL, with a positive errno in *err: EBUSY, a handler has that name, or the mount ends;
 * EAGAIN, there are REGISTRY_HANDLERS, and none to inherit. */
struct handler *registry_attach(struct registry *all, const struct handler_options *o, int fd,
                                bool *inherited, int *err);
/* Dismisses the handlers of that name: a lost one is waited for no longer, an attached one gets end
 * of file. Returns how many. */
unsigned registry_dismiss(struct registry *all, const char *name);
/* Takeover: the handlers of the worker before, with their marks and connections. */
void registry_restore(struct registry *all);
/* One of these that has a connection, and is to be served; NULL: no more. */
struct handler *registry_unserved(struct registry *all, int *fd);
/* Returns when the connection has ended, or the handler was given up. */
void handler_serve(struct handler *h);
/* For status; `fn` is called with the lock held. */
struct handler_info {
	const char *name;
	bool every, content, lost;
	pid_t pid; /* the process that has it, or had it */
	unsigned marks, waiting;
	uint64_t answered, denied; /* events */
};
void registry_foreach(struct registry *all, void (*fn)(const struct handler_info *, void *),
                      void *user);
