/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What a worker that took over may have wrong of its inodes, and asks the kernel.
 *
 *     attributes, and copies of directories: the kernel drops them, in the background
 *     lookup counts: too high, if the worker before had counted a lookup that it did not answer,
 *         which is sent again and counted again, or had read a FORGET that it did not carry out.
 *         The inode would stay for ever, and in the store an unlinked file
 *
 * What else may be stale, the notices of the worker before are about (notices.h). Pages of files
 * are covered by keep_cache, or by the request that is sent again.
 * Rule:    an inode is forgotten if the kernel says twice, DOUBT_NS apart, that it does not know
 *          it, and its lookup count is the same. Once is not enough: a process whose LOOKUP was
 *          answered enters the inode a moment later
 * Locking: any thread, no lock held
 */
#pragma once
#include <stdint.h>

struct doubts;
struct server;

#define DOUBT_NS INT64_C(3000000000)

struct doubts *doubts_new(struct server *s);
/* Takeover, once it serves: asks about all inodes. */
void doubts_begin(struct doubts *d);
/* The kernel forgot the inode, and `nlookup` lookups are left, of which some may be too many. */
void doubts_add(struct doubts *d, uint64_t nodeid, uint64_t nlookup);
void doubts_stop(struct doubts *d); /* before the clock, the pool and the notifier go */
void doubts_free(struct doubts *d);
