/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Commits: data from handlers on its way into files. A mark by which a handler is no longer asked
 * for a file waits for them, and so does a handler that leaves: otherwise a concurrent reader would
 * get the source's data.
 * Locking: a mutex of its own
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct commits;

struct commits *commits_new(void);
void commits_free(struct commits *c);
void commits_begin(struct commits *c, uint64_t ino);
void commits_end(struct commits *c, uint64_t ino, int error);
/* 0; EINPROGRESS: some are under way; EIO: the last one failed, or one concurrent with it. */
int commits_state(struct commits *c, uint64_t ino);
/* The inode number is free: its failure is forgotten. */
void commits_forget(struct commits *c, uint64_t ino);
/* Is a commit of any file under way? */
bool commits_any(struct commits *c);
