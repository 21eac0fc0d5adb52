/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Checks a published tree: the head, all of its index, and each block of each file and of each
 * pack, on several threads. Metadata of the files is not compared: mounts have it from the index.
 * Locking: callbacks are called one at a time, on any thread
 * Errors:  of what is needed to check at all; what is wrong with the tree is a finding
 */
#pragma once
#include "fetch/index/head.h"

struct audit_totals {
	uint64_t files, bytes; /* in all, by the index; a file of several names once for each;
	                        * bytes: with packs */
	uint64_t files_done, bytes_done;
	uint64_t wrong; /* files with findings */
};

struct audit_options {
	const char *directory; /* the tree */
	const char *output;    /* where .lacuna is; NULL: in the tree */
	unsigned threads;      /* 0: one per processor */
	/* `path`: in the tree; one finding a file. */
	void (*found)(void *user, const char *path, const char *what);
	bool (*goes_on)(void *user, const struct audit_totals *so_far); /* every 0.1 s */
	void *user;
};

/* false, with `error`: it could not be checked to the end. */
bool audit(const struct audit_options *options, struct head *head, struct audit_totals *totals,
           GError **error);
