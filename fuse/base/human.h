/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Numbers and names as people read them; the caller frees. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

char *human_size(uint64_t bytes);     /* "0 B", "999 B", "1.5 KiB", "12 MiB" */
char *human_count(uint64_t n);        /* "1,234,567" */
char *human_duration(double seconds); /* "0.4 s", "42 s", "3 min 20 s", "2 h 5 min" */
/* A terminal obeys it, or it turns the line around: controls (C0 and C1), marks of direction, ends
 * of lines and paragraphs. */
bool human_unsafe(gunichar c);
/* Fit for one line of a terminal or a log: what is not UTF-8 is written \xNN a byte, and what is
 * unsafe \xNN or \uNNNN. Done twice it is as done once: a backslash stays one. */
char *human_name(const char *bytes);
/* Cut or padded to `columns` of a terminal. */
char *human_fit(const char *text, unsigned columns, bool right);
unsigned human_width(const char *text); /* columns; wide characters count two */
