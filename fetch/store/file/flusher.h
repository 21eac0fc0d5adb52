/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What was written into files that follow the remote becomes durable in the background, without
 * anybody's fsync: FLUSH_SECONDS after the first such write.
 * Owns: borrows store, pool and clock
 */
#pragma once
#include "fetch/base/pool.h"
#include "fetch/store/file/dirty.h"

#define FLUSH_SECONDS 5

struct flusher;
struct flusher *flusher_new(struct store *store, struct pool *disk, struct alarm_clock *clock);
/* Something was written. */
void flusher_wake(struct flusher *f);
/* Before the clock goes; what is not flushed yet store_close() does. */
void flusher_stop(struct flusher *f);
/* After the pool. */
void flusher_free(struct flusher *f);
