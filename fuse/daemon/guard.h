/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A process that outlives the daemon by a moment, and fails the requests that a killed one leaves.
 *
 * Why:     the kernel aborts a connection when its last device is closed. A thread of the daemon
 *          that waits in the kernel when SIGKILL comes (a notice of a name waits for the
 *          directory's lock, fuse/inode/notify.h) keeps its device open until it gets what it waits
 *          for. If that is held by a process whose request nobody has read, both wait for ever,
 *          and so does each later user of the mount
 * Does:    nothing while the daemon lives. Then each pending request, read by the daemon or not,
 *          ends with ENOTCONN, which frees those threads; the guard leaves after the last of them,
 *          and the connection ends with its device
 * Signals: it ignores all but SIGKILL, and is of a session of its own: Ctrl-C and the end of a
 *          service are for the daemon. Killed with the daemon at once, it is of no use
 * Costs:   one process without threads, 100 KiB of private memory
 */
#pragma once
#include <sys/types.h>

struct guard {
	int device; /* /dev/fuse; -1: given away, or none */
	pid_t pid;  /* <= 0: there is no guard */
};

/* By the thread whose end is the daemon's: the main one. */
void guard_start(struct guard *g);
/* The guard's device becomes one of the connection of `session_fd`. -1: there is no mount. */
void guard_connect(struct guard *g, int session_fd);
/* Where the connection has ended: no request is left. */
void guard_stop(struct guard *g);
