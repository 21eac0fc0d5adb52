/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Publishes a tree: walks it, writes a new index, and makes it current (fetch/index/format.h).
 * Order:   plan, image, packs, digests, leaves, tail; fsync; the index gets its name; fsync; the
 *          head is replaced; fsync. Whatever ends it, the head names the old version or the new
 * one, and that index is there. Unfinished files begin with ".tmp-"; the next publish removes them
 * Locking: one publisher for an output at a time: flock(2) on its `.lacuna`
 * Memory:  one directory's names, 4 bytes for each further file of several names, 8 for each
 *          directory; the rest is in unnamed files of the output
 */
#pragma once
#include "fetch/base/error.h"
#include "fetch/index/head.h"

enum publish_step { PUBLISH_LOOKING, PUBLISH_WRITING, PUBLISH_HASHING, PUBLISH_SEALING };

struct publish_progress {
	enum publish_step step;
	uint64_t files, bytes; /* found so far; from PUBLISH_WRITING on: files that have data */
	uint64_t hashed_files, hashed; /* of these */
	uint64_t kept_files, kept;     /* of these: unchanged since `from` */
};

struct publish_options {
	const char *directory; /* the tree */
	const char *output;    /* where .lacuna is; NULL: in the tree */
	const char *key;       /* PEM file of the private key that signs it; NULL: none does */
	const char *from; /* an older version, whose digests are used again (reuse.h); NULL: none */
	bool checksum;    /* `from` is compared with what all files are now */
	unsigned threads; /* 0: one per processor */
	bool packs;       /* of small files, which need libzstd: frame_usable() */
	/* Called again and again, on this thread; false ends it with FETCH_CANCELLED. */
	bool (*goes_on)(void *user, const struct publish_progress *p);
	void *user;
};

struct publish_result {
	struct head head;
	uint64_t files, directories, bytes;
	uint64_t kept_files; /* not read: unchanged since `from` */
	uint64_t odd_files;  /* changed since `from`, but neither size nor mtime; with `checksum` */
	bool unchanged;      /* the current index is the same: nothing was replaced */
	bool was_signed;     /* the version before was */
};

bool publish(const struct publish_options *options, struct publish_result *out, GError **error);
