/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The thread that waits in the kernel for an answer, as /proc tells of it.
 * Source:  proc_pid_status(5); complete_signal() of the kernel: whatever kills a process at once is
 *          shown as a pending SIGKILL of each of its threads. What would dump core is not, but
 *          nobody catches it
 * Trust:   a /proc of another pid namespace tells of other threads, and one with hidepid hides
 *          them. As root we make an instance of our own then; else nothing is known
 */
#pragma once
#include <sys/types.h>

enum caller { CALLER_LIVES, CALLER_DIES, CALLER_UNKNOWN };

/* Opens what the others need; once, while there are descriptors. Whoever is first does it, too. */
void caller_begin(void);
/* tid 0: of another pid namespace, unknown. A thread that is gone dies. */
enum caller caller_look(pid_t tid);
/* Opens a file of its directory in /proc, O_RDONLY; -1. */
int caller_open(pid_t tid, const char *file);
/* The same, read; caller frees. NULL: it cannot be told. */
char *caller_text(pid_t tid, const char *file);
