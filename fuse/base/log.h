/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The log of g_message() etc.: one line each, UTC time and level first, never a
 * credential (anything that looks like one in a URL is blanked out).
 * Shape:   in the background to a file, as soon as its directory exists (logfile.h). In the
 *          foreground to stderr, and then only warnings unless G_MESSAGES_DEBUG is set; if stderr
 *          is systemd's journal, or to syslog, each line with its priority. A repeated
 *          line is counted, a flood is thinned out (repeats.h)
 * Waits:   logging never blocks: a thread writes (logqueue.h). The end of the process waits up to
 *          2 s for that thread: log_end(), abort() and fatal faults, by signal handlers.
 *          Lines that do not fit, in memory or on the disk, are counted, and their number is
 *          logged
 * Locking: its own mutex; any thread
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define LOG_SYSLOG_NAME "syslog"
/* Does the name stand for syslog(3), not for a file? */
bool log_is_syslog(const char *file);
/* `file` NULL: stderr. `store` (may be NULL): the directory of `file`, which is created only once
 * the directory is a store. Once per process, after the last fork(). */
void log_start(const char *file, const char *store);
/* Logs the counts of repeated lines, then log_flush(). */
void log_end(void);
/* Waits up to 2 s: whether all earlier lines have been written. */
bool log_flush(void);
/* Lines waiting to be written, and lines lost so far. */
void log_state(uint64_t *waiting, uint64_t *lost);
/* Blanks out user:password@ after each "://", in place. */
void log_redact(char *text);
