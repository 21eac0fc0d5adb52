/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by registry.c (passes events to handlers), attachment.c (attaching, leaving) and
 * connection.c (one handler's connection). Locking: all under registry.lock; `_locked` requires
 * it */
#pragma once
#include "fetch/base/lock.h"
#include "fuse/events/marks.h"
#include "fuse/events/refusals.h"
#include "fuse/events/registry.h"

/* Events sent to one handler at a time: each takes one of our descriptors. */
#define IN_FLIGHT_MAX 1024

struct registry {
	struct server *server;
	struct mutex lock;
	struct condition changed; /* a handler was lost, a commit ended, or `hurried` */
	GList *list;              /* of struct handler, by rank */
	unsigned count;           /* atomic: of these */
	uint64_t attached, events;
	uint64_t before; /* events up to here were sent by workers that died */
	bool hurried, stopped;
	struct commits *commits;  /* owned */
	struct refusals refusals; /* of mode holes */
};

struct handler {
	struct registry *all;
	uint64_t rank;
	char *name; /* owned */
	bool every, content;
	pid_t pid;
	int fd;                  /* borrowed; -1: lost */
	int wake;                /* eventfd: its thread has work; -1: lost */
	bool serving;            /* events may be sent */
	bool leaves;             /* it sent DETACH */
	bool dismissed;          /* by registry_dismiss(); under lock */
	bool draining;           /* it leaves, and is asked only for files of its own commits */
	struct commits *commits; /* owned: of events that it answered last */
	bool postpones;          /* marks wait for commits, whose end wakes its thread */
	GQueue postponed;        /* of struct lacuna_mark, owned; for its thread alone */
	struct marks *marks;
	int64_t lacks_ns; /* since then no scratch file can be made; 0: it can */
	int lacks_error;
	GQueue unsent, sent; /* of struct event; sent: by until_ns */
	uint32_t backlog;
	uint64_t answered, denied; /* for status */
	unsigned place;            /* kept.h; 0: none */
};

/* An event with its verdict, to be ended without the lock. */
struct ended {
	struct event *event;
	enum verdict verdict;
	int error;
};

/* Passes the event to the next handler that wants it. false: there is none, or none may get it:
 * *out says how to end it. */
bool event_pass_locked(struct registry *all, struct event *e, struct ended *out)
        REQUIRES(all->lock);
void event_end(struct registry *all, struct ended *ended) EXCLUDES(all->lock);
/* Takes the handler out of the list, unless it `stays`. Its unanswered events start anew, with the
 * other handlers, and with itself if it `stays`. Returns struct ended: to be ended without the
 * lock. */
GArray *handler_unload_locked(struct handler *h, bool stays) REQUIRES(h->all->lock);
/* Takes the handler out of the list once its commits are stored: a chunk that a request waits for
 * may be on its way. false: it stays in the list, for the mount ends. */
bool handler_leave(struct handler *h) EXCLUDES(h->all->lock);
/* Sends events that have a scratch file. false: not all. */
bool handler_flush_locked(struct handler *h) REQUIRES(h->all->lock);
void handler_free(struct handler *h);
/* The handlers have REGISTRY_MARKS. */
bool registry_marks_full_locked(struct registry *all) REQUIRES(all->lock);
/* As handler_flush_locked(), after it has made the scratch files; on the handler's own thread. */
bool handler_send_locked(struct handler *h) REQUIRES(h->all->lock);
/* Without a connection, in the list. */
struct handler *handler_new_locked(struct registry *all, const struct handler_options *o,
                                   uint64_t rank) REQUIRES(all->lock);
/* answering.c: checks the answer and passes its event on. 0 or a positive errno for the handler. */
int handler_answer(struct handler *h, const struct lacuna_answer *a) EXCLUDES(h->all->lock);
