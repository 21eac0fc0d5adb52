/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A store's epoch: whether what an earlier daemon wrote may be trusted; format.h.
 *
 *        clean ──epoch_begin──▶ unclean ──epoch_end, syncfs──▶ clean
 *
 * Locking: `number` is fixed after open; the rest under lock
 * Errors:  -errno
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct epoch {
	uint32_t number; /* > 0 */
	pthread_mutex_t lock;
	int fd;            /* of state/epoch */
	uint64_t identity; /* of this boot, mount and count of errors */
	uint32_t errors;
	bool clean_on_disk; /* with this number */
	bool failed;        /* it dies with this daemon */
	int begun;          /* atomic: unclean on disk, with this number and identity */
};

enum epoch_open_flags {
	EPOCH_FRESH = 1, /* a new store */
	EPOCH_NEXT = 2,  /* whatever is there is dead */
};

/* `state`: its directory; also says which mount. */
int epoch_open(struct epoch *e, int state, unsigned flags);
/* Before any change of the store. After the first one: no system call. */
int epoch_begin(struct epoch *e);
/* A write-back error was seen: the kernel tells it once. */
void epoch_failed(struct epoch *e);
/* Closes. Everything is on disk, or else the store stays unclean and its epoch dies. `dir`: a
 * descriptor, opened before the first change, of the file system. */
int epoch_end(struct epoch *e, int dir);
/* As if the daemon died. */
void epoch_close(struct epoch *e);
