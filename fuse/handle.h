/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Open files. A handle's number is index + generation, never a pointer.
 * Owns:    a reference on inode and content
 * Locking: the table's mutex for look-up; a handle lives from OPEN to RELEASE, and the
 *          kernel sends RELEASE after every READ of it is answered. `lock` covers ra.
 */
#pragma once
#include "fetch/readahead.h"
#include "fuse/inode.h"

struct handle {
	struct inode *inode;
	struct content *content; /* cached mode; NULL until the first READ of a whole file */
	struct readahead ra;
	pthread_mutex_t lock;
	uint32_t index, generation;
	bool exec; /* opened by execve(2): FMODE_EXEC */
};

struct handle_table;
struct handle_table *handle_table_new(void);
void handle_table_free(struct handle_table *t, struct server *s); /* closes what is open */
/* Takes over the references. */
uint64_t handle_open(struct handle_table *t, struct inode *i, struct content *c, bool exec);
struct handle *handle_get(struct handle_table *t, uint64_t fh); /* NULL: not alive */
/* The handle is gone; its references are dropped. */
void handle_close(struct server *s, struct handle *h);
