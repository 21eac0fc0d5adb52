/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Numbers and names for people; the caller frees. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

char *human_size(uint64_t bytes);     /* "0 B", "999 B", "1.5 KiB", "12 MiB" */
char *human_count(uint64_t n);        /* "1,234,567" */
char *human_duration(double seconds); /* "0.4 s", "42 s", "3 min 20 s", "2 h 5 min" */
/* Characters that control a terminal or reorder a line: C0 and C1, directional marks, line and
 * paragraph separators. */
bool human_unsafe(gunichar c);
/* A name safe for one line of a terminal or a log: bytes that are not UTF-8 become \xNN, unsafe
 * characters \xNN or \uNNNN. Idempotent: backslashes are not escaped. */
char *human_name(const char *bytes);
/* Cut or padded to `columns` of a terminal. */
char *human_fit(const char *text, unsigned columns, bool right);
unsigned human_width(const char *text); /* columns; wide characters count two */
