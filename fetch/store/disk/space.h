/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Disk space for fetched data. Local changes are never refused: they are limited by the disk alone.
 *
 *       0        floor       start        stop                                     total
 *       ├──────────┼───────────┼───────────┼─────────────── free bytes ───────────────┤
 *        no fetch    eviction    eviction
 *                    begins      ends
 *
 *       and likewise, from the other side, for the bytes that the store uses, up to its quota
 *
 * Units:   bytes, as the file system counts blocks
 * Locking: the limits are fixed before the first fetch; the counters are atomic
 * Cost:    one statfs(2) for each 16 MiB fetched, more often only near a limit
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct store;

struct space_limits {
	uint64_t quota;    /* of the store's use; 0: none */
	uint64_t min_free; /* of the file system */
	unsigned percent;  /* > 0: of the file system, instead of min_free */
	bool automatic;    /* 5 %, or 1 GiB if that is less */
};

struct space_look {
	uint64_t total, free; /* of the file system; free to unprivileged users */
	uint64_t floor;       /* free bytes that fetched data leaves */
	uint64_t quota;       /* 0: none */
	uint64_t used;        /* by the store, as counted */
	uint64_t slack;       /* from the floor to `stop` */
	uint64_t quota_slack;
	bool few_inodes; /* less than a 256th of the file system's are free */
};

void store_space_limit(struct store *s, const struct space_limits *limits);
int store_space_look(struct store *s, struct space_look *out); /* -errno */
/* How many bytes must be freed for `need` more, and for all of the slack (`part` 1) or half of it
 * (2). */
uint64_t space_lack(const struct space_look *l, uint64_t need, unsigned part);
/* Before fetched data is stored. -ENOSPC: not enough; nothing is counted. Never blocks. */
int store_space_take(struct store *s, uint64_t bytes);
/* After fetched data was dropped. */
void store_space_give(struct store *s, uint64_t bytes);

/* Disk usage of the store: measured, then counted. Changes that bypass the daemon make the count
 * drift. */
struct space_use {
	uint64_t used;    /* all blocks of the store */
	uint64_t fetched; /* of these, the blocks of files that can be fetched again */
	bool known;       /* measured, by this daemon or before the last clean close */
};
void store_space_use(struct store *s, struct space_use *out);
/* Sets the measured counts; `before`: the counts when the measurement began. */
void store_space_measured(struct store *s, const struct space_use *before,
                          const struct space_use *now);
