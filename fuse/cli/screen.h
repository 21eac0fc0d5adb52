/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A refreshed display on standard output: in place on a terminal, block after block
 * elsewhere. SIGINT and SIGTERM end it cleanly: the cursor is restored, and the last
 * display stays. */
#pragma once
#include <stdbool.h>

struct screen;

struct screen *screen_open(bool in_place); /* one at a time: it takes the signals */
void screen_close(struct screen *s);
/* Lines, each with its newline. In place: cut to what the terminal can show. */
void screen_show(struct screen *s, const char *text);
/* Removes the display, so that other lines can be printed. */
void screen_clear(struct screen *s);
/* Until `seconds` have passed or a signal came. */
void screen_sleep(struct screen *s, double seconds);
/* A signal arrived, or the reader of standard output is gone. */
bool screen_interrupted(const struct screen *s);
