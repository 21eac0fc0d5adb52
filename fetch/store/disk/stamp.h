/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The times of directories in the tree: creating or removing a copy of a remote object is no
 * change of the directory. Its mtime is restored, which must not undo that of a concurrent change.
 * Locking: store.stamps: read-locked around a change of a directory, write-locked around a step
 * that is none. Taken alone, across the system calls of one step
 */
#pragma once
#include <time.h>
#include "fetch/store/disk/store_private.h"

struct stamp {
	int dir; /* borrowed; -1: its time could not be read */
	struct timespec mtime;
};

/* `dir`: in the tree. */
void stamp_begin(struct store *s, int dir, struct stamp *out) ACQUIRE(s->stamps);
void stamp_end(struct store *s, const struct stamp *stamp) RELEASE(s->stamps);
void stamp_change_begin(struct store *s) ACQUIRE_SHARED(s->stamps);
void stamp_change_end(struct store *s) RELEASE_SHARED(s->stamps);
