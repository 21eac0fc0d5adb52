/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A store's epoch: whether what an earlier daemon wrote may be trusted; format.h.
 *
 *        clean ──epoch_begin──▶ unclean ──epoch_end, syncfs──▶ clean
 *                                  └──epoch_failed──▶ failed: ends with this daemon
 *
 * The kernel reports a write-back error once, and the next sync succeeds although the bytes are
 * lost. So an error that was seen by any sync holds until the store is opened again.
 * Locking: `number` is fixed after open; the rest under lock
 * Errors:  -errno
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <glib.h>
#include <stdint.h>

/* Files that are synced at a time, at most */
#define EPOCH_SYNCS 16

struct epoch {
	uint32_t number; /* > 0 */
	pthread_mutex_t lock;
	int fd;            /* of state/epoch */
	uint64_t identity; /* of this boot, mount and count of errors */
	uint32_t errors;
	bool clean_on_disk;                   /* with this number */
	int state;                            /* borrowed: the directory */
	int tree;                             /* borrowed: what goes with it; -1: none */
	int lost;                             /* atomic: one of them was removed */
	bool linked;                          /* the file system counts links of directories */
	int failed;                           /* atomic: it dies with this daemon */
	uint32_t failures;                    /* atomic: syncs that failed */
	pthread_mutex_t syncing[EPOCH_SYNCS]; /* by inode number; before `lock` */
	GHashTable *failed_files; /* uint64 inode number → which of them was its last; or NULL */
	int begun;                /* atomic: unclean on disk, with this number and identity */
};

enum epoch_open_flags {
	EPOCH_FRESH = 1, /* a new store */
	EPOCH_NEXT = 2,  /* whatever is there is dead */
	EPOCH_OTHER = 4, /* as is what later epochs left: the file that tells is of a copy */
};

/* `state`: its directory; also says which mount. */
int epoch_open(struct epoch *e, int state, unsigned flags);
/* The number of one that nobody ended, of a store that is not opened yet; 0: there is none. */
uint32_t epoch_left(int state);
/* -EIO: somebody removed the store. */
int epoch_here(struct epoch *e);
/* Before any change of the store. After the first one it is but a look whether the store is still
 * there: -EIO where somebody removed it. */
int epoch_begin(struct epoch *e);
/* fsync(2) or, with `datasync`, fdatasync(2). A write-back error ends the epoch. */
int epoch_sync(struct epoch *e, int fd, bool datasync);
/* Of a file whose error may have been told to another descriptor: -EIO once to each who had
 * `seen` so many failures when it was opened. */
int epoch_sync_seen(struct epoch *e, int fd, bool datasync, uint32_t *seen);
/* syncfs(2), likewise. */
int epoch_syncfs(struct epoch *e, int fd);
/* close(2) of a file that was written: some file systems report their errors there. */
void epoch_close_file(struct epoch *e, int fd);
/* 0: what was synced may be marked durable. -EIO: a write-back error was seen. */
int epoch_trust(const struct epoch *e);
/* Closes. Everything is on disk, or else the store stays unclean and its epoch dies: -EIO, too,
 * where that was known before. `dir`: a descriptor, opened before the first change, of the file
 * system. */
int epoch_end(struct epoch *e, int dir);
/* As if the daemon died. */
void epoch_close(struct epoch *e);
