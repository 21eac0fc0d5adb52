/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* After many inodes were forgotten, what malloc has kept of their listings and tables goes back to
 * the kernel: 14 of 32 MB after 300,000 inodes.
 * Cost:    one malloc_trim(3), on the disk pool, TRIM_EACH or more inodes and two seconds after the
 *          one before
 * Locking: any thread
 */
#pragma once
#include <stddef.h>
#include "fetch/base/pool.h"

#define TRIM_EACH 10000

struct trim;

struct trim *trim_new(struct alarm_clock *clock, struct pool *pool); /* both borrowed */
void trim_forgot(struct trim *t, size_t inodes);                     /* the kernel forgot so many */
/* Before pool_free(), after the last trim_forgot(). */
void trim_stop(struct trim *t);
void trim_free(struct trim *t); /* after it */
