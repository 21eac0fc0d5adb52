/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Where standard output and error lead to: a log that is opened, rotated by its own thread and
 * followed by them, and, for the length of a mount, a file that a program's words are heard by.
 * Owns:    borrows each descriptor that it is given
 * Locking: its own mutex; any thread
 */
#pragma once
#include <stdbool.h>

/* From now on both go where the log goes, as soon as it is open. */
void streams_follow(void);
/* The log's file is this one; before the one before it is closed. */
void streams_log(int fd);
/* Until streams_return() standard error is `fd`, wherever the log goes meanwhile. false: it is not.
 */
bool streams_lend(int fd);
void streams_return(void);
