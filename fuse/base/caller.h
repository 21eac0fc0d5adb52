/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The state of a thread that waits in the kernel for an answer, as shown by /proc.
 * Source:  proc_pid_status(5); complete_signal() of the kernel: a signal that kills a process at
 *          once shows as a pending SIGKILL of each of its threads. A signal that dumps core does
 *          not, but is pending and not caught
 * Trust:   a /proc of another pid namespace shows other threads, and one with hidepid hides
 *          them. As root the daemon then mounts an instance of its own; else the state is unknown
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum caller { CALLER_LIVES, CALLER_DIES, CALLER_UNKNOWN };

/* Opens /proc for the others; once, while there are descriptors. The first caller does it, too. */
void caller_begin(void);
/* tid 0: of another pid namespace, unknown. A thread that is gone dies. */
enum caller caller_look(pid_t tid);
/* Opens a file of its directory in /proc, O_RDONLY; -1. */
int caller_open(pid_t tid, const char *file);
/* The text of such a file; caller frees. NULL: unknown. */
char *caller_text(pid_t tid, const char *file);
/* Its beginning; false: it is empty, or unknown. For "syscall", and all that hidepid hides, it asks
 * the delegate. */
bool caller_line(pid_t tid, const char *file, char *out, size_t size);
/* Another process reads what the kernel shows to a tracer only: a confined process is none. Before
 * other threads start. */
void caller_delegate(bool (*line)(pid_t tid, const char *file, char *out, size_t size));
/* The descriptor of /proc, O_PATH; -1: none is trusted. */
int caller_proc(void);
