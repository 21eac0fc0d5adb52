/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The flusher makes local writes into files that follow the remote durable in the background,
 * FLUSH_SECONDS after the first such write.
 * Owns: borrows store, pool and clock
 */
#pragma once
#include "fetch/base/pool.h"
#include "fetch/store/file/dirty.h"

#define FLUSH_SECONDS 5

struct flusher;
struct flusher *flusher_new(struct store *store, struct pool *disk, struct alarm_clock *clock);
/* A file was written. */
void flusher_wake(struct flusher *f);
/* Before the clock is freed; store_close() flushes the rest. */
void flusher_stop(struct flusher *f);
/* After the pool. */
void flusher_free(struct flusher *f);
