/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Lines that are looked at: what of a file is present, and how far a fill is.
 * Shape: a slice is 0 (absent) … 255 (present); one column a slice
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ░▒▓█, or '.', ':' and '#' without UTF-8. Only a slice that is whole looks whole, only
 * one that is empty looks empty. Caller frees. */
char *bar_draw(const uint8_t *slices, size_t count, bool utf8);
/* `done` of `total` in `columns`; nothing of nothing is whole. Caller frees. */
char *bar_progress(uint64_t done, uint64_t total, unsigned columns, bool utf8);
/* Columns of the terminal at `fd`; `otherwise` where it is none. */
unsigned bar_columns(int fd, unsigned otherwise);
/* The locale's character set is UTF-8 (after setlocale). */
bool bar_utf8(void);
