/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Open files. A handle's number is index + generation, never a pointer.
 * Shape:   handles keep as many local descriptors as leave enough for the daemon's own; beyond that
 *          the oldest descriptor that no request uses is closed, and reopened by
 *          the next request that needs it
 * Owns:    a reference on inode and content
 * Locking: the table's mutex for look-up; a handle lives from OPEN to RELEASE, and the
 *          kernel sends RELEASE after every READ of it is answered. `lock` covers ra and the
 *          reopened descriptor, and comes before the table's
 */
#pragma once
#include "fetch/base/lock.h"
#include "fetch/base/readahead.h"
#include "fuse/inode/inode.h"

struct server;

struct handle {
	struct inode *inode;
	struct content *content; /* cached mode; NULL until a READ needs it. Under lock */
	uint64_t version;        /* source_version of its data while content is NULL; 0: none.
	                          * Under lock */
	struct readahead ra;
	struct mutex lock;
	int fd;        /* owned; of a fully local file; -1: none. Under lock */
	unsigned uses; /* requests that use fd; under lock. Of the slot, not of one open */
	GList held;    /* in the table's queue of handles with a descriptor; data NULL: not in it */
	uint32_t index, generation;
	int flags;              /* of the open; WRITE_HANDLES_EXEC: by execve(2) */
	bool write;             /* opened for writing */
	uint32_t sync_failures; /* atomic; store_sync_failures() at the open */
	uint64_t visited;       /* the local file: store_visit(); 0: none */
	bool watched;           /* at the open, a handler wanted each operation */
};

struct handle_table;
/* `descriptors`: the limit of this process. */
struct handle_table *handle_table_new(uint64_t descriptors);
void handle_table_free(struct handle_table *t, struct server *s); /* closes open handles */
/* Takes over the references, and `fd` (-1: none). `flags`: of the open. */
uint64_t handle_open(struct server *s, struct inode *i, struct content *c, int fd, int flags,
                     bool watched);
uint64_t handle_table_count(struct handle_table *t);            /* of open handles */
struct handle *handle_get(struct handle_table *t, uint64_t fh); /* NULL: not alive */
/* The set of store paths of open files. */
GHashTable *handle_table_paths(struct handle_table *t, struct server *s);
/* `h` has just got a descriptor: another handle may lose its own. Without a lock. */
void handle_hold(struct handle_table *t, struct handle *h);
/* The daemon is out of descriptors: handles keep fewer, for a while (quota.h). */
void handle_table_spare(struct handle_table *t);
/* Frees the handle and drops its references. */
void handle_close(struct server *s, struct handle *h);
