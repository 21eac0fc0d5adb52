/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Open files. A handle's number is index + generation, never a pointer.
 * Shape:   slots in the area (area.h), which outlive the worker. Handles keep as many local
 *          descriptors as leave enough for the daemon's own; beyond that the oldest descriptor that
 *          no request uses is closed, and reopened by the next request that needs it
 * Owns:    a reference on inode and content
 * Locking: the table's mutex for look-up; a handle lives from OPEN to RELEASE, and the
 *          kernel sends RELEASE after every READ of it is answered. `lock` covers ra and the
 *          reopened descriptor, and comes before the table's
 */
#pragma once
#include "fetch/base/lock.h"
#include "fetch/base/readahead.h"
#include "fuse/inode/inode.h"

struct area;
struct server;

struct handle {
	struct inode *_Atomic inode; /* NULL: the slot is free */
	struct content *content;     /* cached mode; NULL until a READ needs it. Under lock */
	uint64_t version;            /* source_version of its data while content is NULL; 0: none.
	                              * Under lock */
	struct readahead ra;
	struct mutex lock;
	int fd;        /* owned; of a fully local file; -1: none. Under lock */
	unsigned uses; /* requests that use fd; under lock. Of the slot, not of one open */
	GList held;    /* in the table's queue of handles with a descriptor; data NULL: not in it */
	uint32_t index, generation;
	int flags;              /* of the open; WRITE_HANDLES_EXEC: by execve(2) */
	bool write;             /* opened for writing */
	uint8_t iomode;         /* enum iomode_kind: of the inode while this is open */
	uint32_t sync_failures; /* atomic; store_sync_failures() at the open */
	uint64_t visited;       /* the local file: store_visit(); 0: none */
	bool watched;           /* at the open, a handler wanted each operation */
	uint64_t request;       /* the kernel's number of the request that opened it */
};

struct handle_table;
/* `descriptors`: the limit of this process. */
struct handle_table *handle_table_new(struct area *area, uint64_t descriptors);
void handle_table_free(struct handle_table *t, struct server *s); /* closes open handles */
/* No more files can be opened. Some slots are left, for opens under way. */
bool handle_table_full(struct handle_table *t);
/* Takes over the references, and `fd` (-1: none). `flags`, `request`: of the open. */
uint64_t handle_open(struct server *s, struct inode *i, struct content *c, int fd, int flags,
                     enum iomode_kind iomode, bool watched, uint64_t request);
/* The local file that the new handle visits, before the open is answered. */
void handle_visit(struct handle_table *t, uint64_t fh, uint64_t visited);
uint64_t handle_table_count(struct handle_table *t);            /* of open handles */
struct handle *handle_get(struct handle_table *t, uint64_t fh); /* NULL: not alive */
/* Takeover: a slot is alive, or free. */
void handle_slot_restored(struct handle_table *t, struct handle *h);
/* The handle that this request opened; NULL: it is not alive. Slow. */
struct handle *handle_of_request(struct handle_table *t, uint64_t request);
/* The set of store paths of open files. */
GHashTable *handle_table_paths(struct handle_table *t, struct server *s);
/* `h` has just got a descriptor: another handle may lose its own. Without a lock. */
void handle_hold(struct handle_table *t, struct handle *h);
/* The daemon is out of descriptors: handles keep fewer, for a while (quota.h). */
void handle_table_spare(struct handle_table *t);
/* Frees the handle and drops its references. */
void handle_close(struct server *s, struct handle *h);
