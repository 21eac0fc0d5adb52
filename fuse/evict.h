/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Giving local space back, and taking newer versions. Both have a file for themselves: nobody
 * has it open, maps or runs it, and who opens it meanwhile waits.
 * Locking: what is open or about to be, under the inode's lock; then the queue of waiting opens
 * Errors:  positive errnos with a cause, static: why the file was left alone
 */
#pragma once
#include "fuse/parked.h"

struct evictions;
struct evictions *evictions_new(void);
void evictions_free(struct evictions *e);

/* An open is on its way, and ends with evictions_leave(). false: it has to wait: `p` is resumed
 * when the file is free, and begins anew. */
bool evictions_enter(struct server *s, struct inode *i, struct parked *(*park)(void *), void *user);
void evictions_leave(struct inode *i);

struct leaving {           /* what became of one file */
	uint64_t bytes;    /* given back */
	bool newer;        /* the source has another version, or had */
	int error;         /* left alone, or failed; 0: as it should be */
	const char *cause; /* static; NULL: what the errno says */
};

/* Gives back what can be fetched again. Blocks on the disk. */
void evict_file(struct server *s, struct inode *i, struct leaving *out);
/* A file: as the source has it now, if nothing of it was changed here; a directory is listed
 * anew. Blocks on disk and network. */
void refresh_file(struct server *s, struct inode *i, struct leaving *out);
