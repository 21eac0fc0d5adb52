/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The queue of a log's lines, and the thread that writes them: logging never blocks on the disk.
 * Shape:   up to 1 MiB waits beside the lines being written; further lines, until the thread has
 *          taken all waiting ones, are only counted
 * Owns:    its thread, which ends with the process and takes no signals
 * Locking: a mutex of its own, held for the copying of a line; any thread
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct logqueue;

/* `write` runs on the thread, one call at a time: whole lines, and the number of lines lost after
 * them. If no thread can be started it runs on the caller's. */
struct logqueue *
logqueue_new(void (*write)(void *user, const char *text, size_t length, uint64_t lost), void *user);
void logqueue_add(struct logqueue *q, const char *line, size_t length);
/* Waits up to `ms` until all earlier lines have been written: whether they have. Safe in a signal
 * handler. */
bool logqueue_flush(struct logqueue *q, unsigned ms);
/* Lines that wait, or are being written. */
uint64_t logqueue_waiting(const struct logqueue *q);
