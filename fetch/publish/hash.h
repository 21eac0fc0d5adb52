/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Hashes the data of a planned tree, on several threads, writes the digests, and makes the packs.
 * Errors: LOCAL_ERROR; FETCH_CHANGED: a file is not the one that was planned
 */
#pragma once
#include "fetch/publish/objects.h"
#include "fetch/publish/plan.h"
#include "fetch/publish/reuse.h"

struct hash_counts {
	uint64_t bytes, files;           /* hashed */
	uint64_t kept_bytes, kept_files; /* not, since `reuse` has their digests */
	uint64_t odd_files; /* of `files`: with other bytes than `reuse` says, which says so wrongly
	                     */
};

struct hash_options {
	unsigned threads;
	const struct reuse *reuse; /* NULL: none */
	bool checksum;             /* all is hashed, and compared with `reuse` */
	/* Called on this thread, every 0.1 s; false ends it with FETCH_CANCELLED. */
	bool (*tick)(void *user, const struct hash_counts *so_far);
	void *user;
};

/* `root`: the tree. `tail`: where the tables are in `fd`. `objects` NULL: no packs were planned. */
bool hash_tree(const struct plan *p, int root, int fd, const struct index_tail *tail,
               struct objects *objects, const struct hash_options *options,
               struct hash_counts *counts, GError **error);
