/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What registry.c (which event goes to whom), attachment.c (who comes and goes) and connection.c
 * (the connection of one) share. Locking: all of it under registry.lock; `_locked` wants it held */
#pragma once
#include <pthread.h>
#include "fuse/events/marks.h"
#include "fuse/events/refusals.h"
#include "fuse/events/registry.h"

/* Events that one handler has at a time: each is a descriptor of ours. */
#define IN_FLIGHT_MAX 1024

struct registry {
	struct server *server;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* one was lost */
	GList *list;            /* of struct handler, by rank */
	unsigned count;         /* atomic: of these */
	uint64_t attached, events;
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
	int fd;         /* borrowed; -1: lost */
	int wake;       /* eventfd: there is something to do; -1: lost */
	bool serving;   /* events may be sent */
	bool leaves;    /* it said so */
	bool dismissed; /* somebody else did; under lock */
	bool draining;  /* it leaves, and is asked only for files that its commits are of */
	struct commits *commits; /* owned: of events whose last answer was its own */
	bool postpones;          /* marks wait for commits: it is woken as these end */
	GQueue postponed;        /* of struct lacuna_mark, owned: its thread's alone */
	struct marks *marks;
	int64_t lacks_ns; /* since then no scratch file can be made; 0: it can */
	int lacks_error;
	GQueue unsent, sent; /* of struct event; sent: by until_ns */
	uint32_t backlog;
	uint64_t answered, denied; /* for status */
};

/* An event that has its verdict, to be ended without the lock. */
struct ended {
	struct event *event;
	enum verdict verdict;
	int error;
};

/* To the next handler that wants it. false: there is none, or none may get it: it is ended as
 * *out says. */
bool event_pass_locked(struct registry *all, struct event *e, struct ended *out);
void event_end(struct registry *all, struct ended *ended);
/* Nothing is asked of it any more: what it has not answered begins anew, with the others, and with
 * itself if it `stays`. Of struct ended: to be ended without the lock. */
GArray *handler_unload_locked(struct handler *h, bool stays);
/* Takes it out of the list, once what it brought is in the files: a chunk that somebody waits for
 * may be on its way. Locking: not held. false: it stays in the list, for the mount ends. */
bool handler_leave(struct handler *h);
/* Sends what can be sent, of what has its scratch file. false: not all. */
bool handler_flush_locked(struct handler *h);
void handler_wake(struct handler *h);
void handler_free(struct handler *h);
