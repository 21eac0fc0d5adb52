/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The session's threads. libfuse decodes; the loop is the daemon's own, since half the cost of a
 * small request is the thread's sleep and wake-up: after a request the thread polls the device
 * for a while before it sleeps.
 * Stalls:  while a request is processed the device waits for its thread, which nearly always takes
 *          microseconds. If one takes longer than 50 ms (the store's disk stalls),
 *          another thread reads the device, started if there is none: interrupts
 *          and requests that need no disk are served, until 128 requests are stuck
 * Locking: at most one thread spins; the others sleep, and each request wakes at most one
 */
#pragma once
#include "fuse/inode/server.h"

struct session;

/* Starts the threads on s->session, which is mounted. */
struct session *session_start(struct server *s);
/* From op_init, on a session thread: the capabilities are agreed. */
void session_connected(struct server *s, const char *passthrough_unusable);
/* Blocks until the kernel has had its answer to INIT; false: the session ended before. */
bool session_wait_connected(struct session *se);
/* A descriptor that becomes readable when the session has ended (unmounted). */
int session_ended_fd(const struct session *se);
/* Ends the loop, joins the threads. No request is decoded any more. */
void session_stop(struct session *se);
