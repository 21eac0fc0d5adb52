/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A helper process that outlives a killed daemon and fails its pending requests.
 *
 * Why:     the kernel aborts a connection when its last descriptor is closed. A daemon thread
 *          blocked in the kernel at SIGKILL (an entry invalidation waits for the directory's lock,
 *          fuse/inode/notify.h) keeps its descriptor open until it gets the lock. If the lock's
 *          holder waits for a request that no thread has read, both block for ever, and so does
 *          each later user of the mount
 * Does:    nothing while the daemon lives. Then each pending request ends, which frees those
 *          threads: with ENOTCONN, or with ECONNABORTED if a descriptor that the kernel closes had
 *          it. The guard leaves after the last thread, and the connection ends with its device
 * Signals: blocks all but SIGKILL; runs in its own session, so Ctrl-C reaches the daemon only. If
 *          it is killed with the daemon, requests can hang as above
 * Cost:    one process of one thread
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

struct guard {
	int device; /* /dev/fuse; -1: given away, or none */
	pid_t pid;  /* <= 0: there is no guard */
	bool keeps; /* the daemon is a keeper: its worker ends with it, or a moment later */
};

/* `keeps` is set. By the thread whose end is the daemon's: the main one. */
void guard_start(struct guard *g);
/* The guard's device becomes one of the connection of `session_fd`. -1: there is no mount. */
void guard_connect(struct guard *g, int session_fd);
/* After the connection has ended. */
void guard_stop(struct guard *g);
