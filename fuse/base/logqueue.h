/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Lines on their way to a log, and the thread that writes them: whoever logs waits for no disk.
 * Shape:   up to 1 MiB waits beside what is being written; of what comes beyond that, until all
 *          that waits has been taken to be written, nothing is kept but its number
 * Owns:    its thread, which ends with the process and takes no signals
 * Locking: a mutex of its own, held for the copying of a line; any thread
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct logqueue;

/* `write` runs on the thread, one call at a time: whole lines, and how many were lost behind them.
 * Where no thread can be started it runs on the caller's. */
struct logqueue *
logqueue_new(void (*write)(void *user, const char *text, size_t length, uint64_t lost), void *user);
void logqueue_add(struct logqueue *q, const char *line, size_t length);
/* Until all that was added before has been written, or for `ms`: whether it has. Safe in a signal
 * handler. */
bool logqueue_flush(struct logqueue *q, unsigned ms);
/* Lines that wait, or are being written. */
uint64_t logqueue_waiting(const struct logqueue *q);
