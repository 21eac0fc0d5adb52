/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A store's epoch decides whether data written by an earlier daemon is trusted; format.h.
 *
 *        clean ──epoch_begin──▶ unclean ──epoch_end, syncfs──▶ clean
 *                                  └──epoch_failed──▶ failed: ends with this daemon
 *
 * The kernel reports a write-back error once, and the next sync succeeds although the bytes are
 * lost. So an error seen by any sync persists until the store is opened again.
 * Locking: `number` is fixed after open; the rest under lock
 * Errors:  -errno
 */
#pragma once
#include <stdbool.h>
#include <glib.h>
#include <stdint.h>
#include "fetch/base/lock.h"

/* Files that are synced at a time, at most */
#define EPOCH_SYNCS 16

struct epoch {
	uint32_t number; /* > 0 */
	struct mutex lock;
	int fd;            /* of state/epoch */
	uint64_t identity; /* of this boot, mount and count of errors */
	uint32_t errors;
	bool clean_on_disk;                /* with this number */
	int state;                         /* borrowed: the directory */
	int tree;                          /* borrowed: the tree; -1: none */
	int lost;                          /* atomic: one of the two was removed */
	bool linked;                       /* the file system counts links of directories */
	int failed;                        /* atomic: the epoch ends with this daemon */
	uint32_t failures;                 /* atomic: syncs that failed */
	struct mutex syncing[EPOCH_SYNCS]; /* by inode number */
	GHashTable *failed_files; /* uint64 inode number → which of them was its last; or NULL */
	uint32_t failed_others; /* a file that is not in the full table may have failed up to it */
	GHashTable *records; /* set of inode numbers: files with a record that may not be durable */
	bool records_all;    /* those of all files */
	int begun;           /* atomic: unclean on disk, with this number and identity */
};

enum epoch_open_flags {
	EPOCH_FRESH = 1, /* a new store */
	EPOCH_NEXT = 2,  /* the recorded epoch is dead */
	EPOCH_OTHER = 4, /* and so are all others: the epoch file belongs to a copy */
};

/* `state`: its directory, which also identifies the mount. */
int epoch_open(struct epoch *e, int state, unsigned flags);
/* The number of an unclean epoch, of a store that is not open yet; 0: none. */
uint32_t epoch_left(int state);
/* -EIO: the store was removed. */
int epoch_here(struct epoch *e);
/* Before any change of the store. After the first change it only checks that the store still
 * exists: -EIO if it was removed. */
int epoch_begin(struct epoch *e);
/* The record of `fd` says from now on that all of its data is local. fdatasync(2) need not write an
 * xattr, so the file's next sync is an fsync(2). Before the change of data returns. */
void epoch_record_changed(struct epoch *e, int fd);
/* fsync(2) or, with `datasync`, fdatasync(2), with the record. A write-back error ends the epoch.
 */
int epoch_sync(struct epoch *e, int fd, bool datasync);
/* For a file whose write-back error may have been reported to another descriptor: -EIO once for
 * each user, whose `seen` counts the failures up to its open. */
int epoch_sync_seen(struct epoch *e, int fd, bool datasync, uint32_t *seen);
/* syncfs(2), likewise. */
int epoch_syncfs(struct epoch *e, int fd);
/* close(2) of a file that was written: some file systems report their errors there. */
void epoch_close_file(struct epoch *e, int fd);
/* 0: synced data may be marked durable. -EIO: a write-back error was seen. */
int epoch_trust(const struct epoch *e);
/* Closes. If not everything is on disk the store stays unclean and its epoch ends: -EIO, also
 * for an earlier error. `dir`: a descriptor of the file system, opened before the first
 * change. */
int epoch_end(struct epoch *e, int dir);
/* Closes without a sync, as if the daemon had died. */
void epoch_close(struct epoch *e);
