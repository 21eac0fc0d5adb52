/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by control.c (the socket and its clients' threads) and answer.c (their requests). */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <sys/un.h>
#include "fetch/base/lock.h"
#include "fuse/control/control.h"
#include "fuse/control/request.h"

enum { CLIENTS_MAX = 32 };

struct control_client {
	struct control *control;
	pthread_t thread;
	int fd;                  /* the client's thread closes it, under the lock; then -1 */
	bool used;               /* thread is to be joined; under the lock */
	bool finished;           /* thread is about to return; under the lock */
	bool attached;           /* a handler; under the lock */
	struct handler *handler; /* of the worker before this one; NULL: a new client */
};

struct control {
	struct server *server; /* borrowed */
	struct sockaddr_un address;
	dev_t dev; /* of the socket file, so that only our own is removed */
	ino_t ino;
	int listener, wake;
	atomic_bool stopping;
	pthread_t thread;
	struct mutex lock;
	struct control_client clients[CLIENTS_MAX];
};

/* answer.c: answers one request, in the client's thread. */
void client_answer(struct control_client *client, struct request *r);
