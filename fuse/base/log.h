/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Where g_message() and its kin go: one line each, UTC time and level first, never a
 * credential (what looks like one in a URL is blanked out, whoever wrote it).
 * Shape:   in the background to a file, from the moment its directory is there (logfile.h). In the
 *          foreground to stderr, and then only warnings unless G_MESSAGES_DEBUG is set. A line that
 *          repeats is counted, a flood of them thinned out (repeats.h)
 * Waits:   logging for nothing: a thread writes (logqueue.h). What ends the process waits for that
 *          thread, for 2 s: log_end(), abort() and faults that kill, by handlers of their signals.
 *          Lines that find no room, in memory or on the disk, are counted, and their number is
 *          logged
 * Locking: its own mutex; any thread
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* `file` NULL: stderr. `store` (may be NULL): `file` lies in it, and is made only once
 * it is a store. Once per process, after the last fork(). */
void log_start(const char *file, const char *store);
/* How often lines repeated that were not written again; and log_flush(). */
void log_end(void);
/* Whether all that was logged before is where it should be; after 2 s it may not be. */
bool log_flush(void);
/* Lines that wait to be written, and those that were lost so far. */
void log_state(uint64_t *waiting, uint64_t *lost);
/* Blanks out user:password@ after each "://", in place. */
void log_redact(char *text);
