/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What was denied just now. The kernel reads ahead of a buffered read or a fault, and where that
 * fails it asks once more for the first page alone: that is the same request, and has had its
 * answer. Shape:   each is good for one READ of the same thread, for 20 ms Locking: the caller's
 */
#pragma once
#include <stdint.h>
#include <sys/types.h>

#define REFUSALS 32

struct refusal {
	uint64_t ino, offset, end;
	pid_t tid;
	unsigned left; /* READs that it is good for; 0: free */
	int error;
	int64_t until_ns;
};

struct refusals {
	struct refusal list[REFUSALS];
	unsigned next;
};

/* `r` without its time. */
void refusals_note(struct refusals *all, struct refusal r);
/* The positive errno, once; 0: none. */
int refusals_take(struct refusals *all, uint64_t ino, pid_t tid, uint64_t offset);
