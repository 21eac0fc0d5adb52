/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Where g_message() and its kin go: one line each, UTC time and level first, never a
 * credential (what looks like one in a URL is blanked out, whoever wrote it).
 * Shape:   in the background to a file, from the moment its directory is there; what
 *          comes before that waits in memory, up to 64 KiB. In the foreground to
 *          stderr, and then only warnings unless G_MESSAGES_DEBUG is set. A line that repeats
 *          is counted, a flood of them thinned out (repeats.h); a file of 4 MiB becomes FILE.1,
 *          of which there is one
 * Locking: its own mutex; any thread
 */
#pragma once
#include <stdbool.h>

/* `file` NULL: stderr. `store` (may be NULL): `file` lies in it, and is made only once
 * it is a store. Once per process. */
void log_start(const char *file, const char *store);
/* How often lines repeated that were not written again. */
void log_end(void);
/* From now on stdout and stderr go where the log goes, as soon as it is open. */
void log_take_stderr(void);
/* Blanks out user:password@ after each "://", in place. */
void log_redact(char *text);
