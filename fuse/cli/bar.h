/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Bars: the present chunks of a file, and the progress of a fill.
 * Shape: a slice is 0 (absent) … 255 (present); one column per slice
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ░▒▓█, or '.', ':' and '#' without UTF-8. Only a complete slice looks complete, only
 * an empty one looks empty. Caller frees. */
char *bar_draw(const uint8_t *slices, size_t count, bool utf8);
/* `done` of `total` in `columns`; 0 of 0 is complete. Caller frees. */
char *bar_progress(uint64_t done, uint64_t total, unsigned columns, bool utf8);
/* Columns of the terminal at `fd`; `otherwise` where it is none. */
unsigned bar_columns(int fd, unsigned otherwise);
/* The locale's character set is UTF-8 (after setlocale). */
bool bar_utf8(void);
