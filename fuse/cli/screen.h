/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Standard output as something that is refreshed: in place on a terminal, a block after the
 * other elsewhere. SIGINT and SIGTERM end it in good order: the cursor is back, and what was
 * last shown stays. */
#pragma once
#include <stdbool.h>

struct screen;

struct screen *screen_open(bool in_place); /* one at a time: it takes the signals */
void screen_close(struct screen *s);
/* Lines, each with its newline. In place: cut to what the terminal can show. */
void screen_show(struct screen *s, const char *text);
/* Takes away what is shown, so that other lines can be printed. */
void screen_clear(struct screen *s);
/* Until `seconds` have passed or a signal came. */
void screen_sleep(struct screen *s, double seconds);
/* A signal came, or nobody reads our output any more. */
bool screen_interrupted(const struct screen *s);
