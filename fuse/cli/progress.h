/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The progress of a fill: a bar in place on a terminal, a line every few seconds elsewhere.
 * Units: bytes; times are taken here
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct progress {
	uint64_t files, bytes;        /* in all */
	uint64_t files_done, present; /* so far */
	uint64_t fetched;             /* of present: arrived since the start */
	unsigned failures;
	bool looking;          /* the walk continues: files and bytes still grow */
	struct screen *screen; /* the rest is private */
	bool terminal, utf8;
	int64_t started_ns, shown_ns, sampled_ns;
	uint64_t sampled;
	double rate; /* bytes a second, smoothed */
};

void progress_open(struct progress *p);
/* Shows changes, if it is time to. */
void progress_update(struct progress *p);
/* Clears the line for other output. */
void progress_clear(struct progress *p);
/* `summary`: with a last line that gives the totals. */
void progress_close(struct progress *p, bool summary, bool interrupted);
bool progress_interrupted(const struct progress *p);
