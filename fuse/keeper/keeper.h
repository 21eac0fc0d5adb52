/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The keeper: the process that a mount lives in. It holds /dev/fuse, the lock of the store, the
 * control socket and the area (area.h), and starts the worker, which does everything else. When the
 * worker dies, requests wait in the kernel; the keeper starts the next worker, which takes over.
 *
 *     starts ──the worker mounts──▶ serves ──unmounted, or a signal──▶ leaves
 *        │                          │  ▲                                 │
 *     its end is the keeper's    dies  takes over              its end is the keeper's
 *                                   ▼  │
 *                                  starts ──cannot, START_TRIES times──▶ refuses: EIO
 *
 * A worker is a fork of the keeper, without an exec: the area is at the same address in each, and
 * nothing has to be parsed or loaded. Another program takes over by an exec: first of a worker,
 * then in the keeper's place (upgrade.h). Killing the keeper kills the worker, and ends the mount,
 * unless a service manager keeps its descriptors and starts it again (fdstore.h).
 * Limits:  one thread; allocates nothing after the first worker was started; reads nothing but
 *          fixed words of its workers, what a program says that cannot take over, and, when it
 *          refuses, the header of requests
 * Signals: SIGTERM, SIGINT and SIGHUP are passed on to the worker, and to the next one
 */
#pragma once
#include "fuse/keeper/keeping.h"

struct fdstore_kept;
struct handover;

struct keeper_job {
	/* The worker: in a child process, whose exit status it returns. Each time alike. */
	int (*work)(const struct keeping *k, void *user);
	/* In the keeper, once the first worker runs: closes what only that one needs. */
	void (*started)(void *user);
	void *user;
	const char *point; /* the mount point */
	const char *log;   /* a file; NULL: stderr */
	const char *words; /* of `lacunafs mount`, for another program (handover.h) */
	size_t words_size;
	bool detaches; /* from its session, once it is mounted */
};

/* As keeper_without() where address space is limited (ulimit -v) to less than an area that outlives
 * a worker takes, 2.2 GiB. Returns the exit status of the mount, in the keeper only. A worker that
 * a signal ended before it mounted ends the keeper likewise. */
int keeper_run(const struct keeper_job *job);
/* In the place of another program's keeper, with the worker that runs. The same result. */
int keeper_resume(const struct keeper_job *job, const struct handover *h, struct area *area);
/* In the place of a keeper that was killed, with what the service manager has of it (fdstore.h):
 * the area is mapped, and `kept` has the device and the lock. The same result. */
int keeper_revive(const struct keeper_job *job, const struct fdstore_kept *kept, struct area *area);
/* -o keeper=no: this process is the worker. If it dies, the mount is dead. */
int keeper_without(const struct keeper_job *job);
