/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Redirects standard output and error: to the log, whose own thread opens and rotates it, and,
 * while mounting, to a file that captures the messages of a helper program.
 * Owns:    borrows each descriptor that it is given
 * Locking: its own mutex; any thread
 */
#pragma once
#include <stdbool.h>

/* From now on both go to the log, as soon as it is open. */
void streams_follow(void);
/* The log has a new file `fd`; call it before the previous one is closed. */
void streams_log(int fd);
/* Standard error is `fd` until streams_return(), even if the log is rotated. false: it failed. */
bool streams_lend(int fd);
void streams_return(void);
