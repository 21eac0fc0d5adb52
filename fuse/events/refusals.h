/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Recent failures. The kernel reads ahead of a buffered read or a fault; if that fails, it asks
 * once more for the first page alone, for the same call. A denied call is not asked again, and a
 * call that has waited keeps its first deadline.
 * Shape:   each serves one READ of the same thread (two, of a fault), until its time is up
 * Locking: the caller's
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define REFUSALS 32

struct refusal {
	uint64_t ino, offset, end;
	pid_t tid;
	unsigned left; /* READs that it still serves; 0: free */
	int error;
	int64_t began_ns; /* the first of these READs */
	int64_t until_ns;
};

struct refusals {
	struct refusal list[REFUSALS];
	unsigned next;
};

/* Adds `r`, which expires in `good_ns`. */
void refusals_note(struct refusals *all, struct refusal r, int64_t good_ns);
/* true: *out is the failure, which serves one READ less from now on. */
bool refusals_take(struct refusals *all, uint64_t ino, pid_t tid, uint64_t offset,
                   struct refusal *out);
