/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Who has attached to be asked (lacuna/precontent.h), and what each of them has to answer.
 *
 *      event ──▶ unsent ──▶ sent ──answer──▶ to the next handler … ──▶ done
 *                  ▲          │ its connection ended, or it took too long
 *                  └──────────┘ and a handler of that name came back
 *
 * Shape:   an event goes to one handler after the other by rank: pre-content before content, then
 *          as they attached. The first that denies ends it. One that was lost stays in its
 *          place, mute, with its marks (-o handler_lost=wait), until it comes back
 * Locking: one mutex, held across no answer and no blocking call; inside it only marks, and
 *          sockets that are asked not to block
 * Errors:  to handlers, by RESULT
 */
#pragma once
#include "fuse/base/settings.h"
#include "fuse/events/event.h"

struct registry;

struct registry *registry_new(struct server *s);
/* What is on its way into files delays no handler that leaves any more: the mount ends. */
void registry_hurry(struct registry *all);
/* Nobody is asked from here on; who waits gets VERDICT_CANCEL. */
void registry_stop(struct registry *all);
void registry_free(struct registry *all); /* once no handler is served any more */

/* Of the source that asks; user: struct registry. */
extern const struct interceptor_ops registry_interceptor;

/* Is anybody to be asked for this file? Cheap where nobody is attached. */
bool registry_any(const struct registry *all);
bool registry_want(struct registry *all, struct inode *i, bool every);
/* false: nobody is to be asked. true: e->done() comes, once; not within this call. The inode lives
 * until then. */
bool registry_ask(struct registry *all, struct event *e);
/* true: e->done() will not be called. */
bool registry_withdraw(struct registry *all, struct event *e);

/* Nothing has this inode number any more: as in the kernel, marks go with what they are on. */
void registry_forget(struct registry *all, uint64_t ino);

/* Of an event that `commits`: what was brought is in the file, or is not (a positive errno). */
void registry_committed(struct registry *all, const struct event *e, int error);

struct handler_options {
	bool every, content;
	uint32_t backlog; /* 0: LACUNA_BACKLOG */
	const char *name; /* borrowed */
};

/* A connection that has said what it is; `fd` is borrowed until handler_serve() has returned, which
 * has to be called. NULL: a handler of that name is there. */
struct handler *registry_attach(struct registry *all, const struct handler_options *o, int fd,
                                bool *inherited);
/* Those of that name leave: one that is lost is waited for no longer, one that is attached gets end
 * of file. How many. */
unsigned registry_dismiss(struct registry *all, const char *name);
/* Returns when the connection has ended, or the handler was given up. */
void handler_serve(struct handler *h);
/* For status; `fn` is called with the lock held. */
struct handler_info {
	const char *name;
	bool every, content, lost;
	pid_t pid; /* who has it, or had it */
	unsigned marks, waiting;
	uint64_t answered, denied; /* events */
};
void registry_foreach(struct registry *all, void (*fn)(const struct handler_info *, void *),
                      void *user);
