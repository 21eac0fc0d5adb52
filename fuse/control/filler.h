/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Fetches a list of files completely, many in parallel.
 *
 *   list ──▶ slot: window, window, … ──▶ line
 *
 * Shape:   at most FILLER_SLOTS files at once; each is requested in windows that grow
 *          while they arrive quickly, since a wait has a deadline and a file has no
 *          bound. A failed window is requested again as long as chunks keep arriving
 * Locking: runs in the caller's thread; fill's callbacks only mark a slot as landed
 * Errors:  positive errno per file, in its line
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server;

enum { FILLER_SLOTS = 32 };

struct filler_line {
	uint64_t ino;            /* 0: the totals of all files so far */
	uint64_t bytes, fetched; /* present; of these, arrived since the start */
	int error;               /* positive errno, 0 = complete */
	const char *cause;       /* NULL where there is none */
};

struct filler_ops {
	/* false: the client is gone; filler_run() cancels and returns. */
	bool (*line)(void *user, const struct filler_line *line);
	/* Called every 100 ms. */
	bool (*wanted)(void *user);
};

/* Returns when every file has had its line, or `wanted` is false. */
void filler_run(struct server *s, const uint64_t *inos, size_t count, const struct filler_ops *ops,
                void *user);
