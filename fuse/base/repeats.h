/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Which lines of a log are worth writing. A reader that tries again and again must not fill the
 * disk: a line that was written is not written again for a minute, but counted; and of different
 * ones no more than a few each second, after a first thousand.
 * Locking: none; the caller's
 * Units:   ns, CLOCK_MONOTONIC
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct repeats;

struct repeats *repeats_new(void);
void repeats_free(struct repeats *r);
/* Whether `text` is to be written now. `before` (of char *, owned by it) gets the lines that are
 * to be written before it: what became of those that were not. */
bool repeats_pass(struct repeats *r, const char *text, int64_t now_ns, GPtrArray *before);
/* The same, at the end: everything that was counted. */
void repeats_end(struct repeats *r, GPtrArray *before);
