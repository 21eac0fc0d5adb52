/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* evict and refresh of many files, in parallel, since each asks the source first.
 * Locking: one line at a time; `leave` runs on several threads
 */
#pragma once
#include "fuse/inode/inode.h"

struct server;

struct leaving {           /* the result for one file */
	uint64_t bytes;    /* freed */
	bool newer;        /* the source has another version, or had */
	int error;         /* skipped, or failed; 0: done */
	const char *cause; /* static; NULL: that of the errno */
};

struct leaving_ops {
	/* The result of one file, in any order. false: the client is gone. */
	bool (*line)(void *user, uint64_t ino, const struct leaving *out);
	bool (*wanted)(void *user); /* before each file; false: it ends */
};

void leaving_run(struct server *s, const uint64_t *inos, size_t count,
                 void (*leave)(struct server *s, struct inode *i, struct leaving *out),
                 const struct leaving_ops *ops, void *user);
