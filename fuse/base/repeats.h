/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Suppresses repeated lines of a log. A process that retries forever must not fill the
 * disk: a line is not written again for a minute, but counted, nor is one that differs in the range
 * of a transfer or in its time only; and after the first thousand
 * different lines only a few are written each second.
 * Locking: none; the caller's
 * Units:   ns, CLOCK_MONOTONIC
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct repeats;

struct repeats *repeats_new(void);
/* Whether to write `text` now. `before` (of char *, owned by it) gets lines to write before it:
 * the counts of suppressed lines. */
bool repeats_pass(struct repeats *r, const char *text, int64_t now_ns, GPtrArray *before);
/* At the end: all remaining counts. It owns nothing then, and g_free() may follow. */
void repeats_end(struct repeats *r, GPtrArray *before);
