/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What handlers brought and is on its way into files: a mark by which a handler is not asked for a
 * file any more waits for it, and so does a handler that leaves, or a concurrent reader would get
 * what the source has.
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
/* 0; EINPROGRESS: some are under way; EIO: the last one failed, or one that was under way with it.
 */
int commits_state(struct commits *c, uint64_t ino);
/* Is one under way, of whatever file? */
bool commits_any(struct commits *c);
