/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A local object of the store: a file with its record, and what it carries beside its bytes.
 * Errors: -errno
 */
#pragma once
#include "fetch/base/listing.h"
#include "fetch/store/disk/store.h"

/* What a remote file looks like when it gets its local file. */
struct store_origin {
	uint64_t ino; /* remote identity; the key by which hard links find one another */
	uint64_t size;
	int64_t mtime_ns;
	uint64_t version; /* source_version the chunks are pinned to */
	uint32_t mode, uid, gid;
	uint32_t nlink; /* > 1: indexed by ino */
};

/* What the listing tells of an object that comes to count. */
struct store_kept {
	const char *remote;            /* its path there */
	const struct listing *listing; /* has its xattrs; NULL: none are known */
	uint32_t index;                /* of its entry */
	uint32_t nlink;
	const struct store_origin
	        *origin; /* of a file: its owner and mode; NULL: as the daemon made it */
};
/* How many files of it could not be told from damage, and were set aside: state/orphans. */
uint64_t store_set_aside(struct store *s);

/* What is on disk at `path` (else, by hard-link index, at `ino`): one look, no
 * descriptor kept. -ENOENT: nothing local. */
struct store_probe {
	uint64_t size;
	uint64_t version;
	int64_t mtime_ns;
	bool complete; /* every chunk present and trusted */
};
int store_probe(struct store *s, const char *path, uint64_t ino, struct store_probe *out);

/* A new O_RDONLY descriptor of the local file, for passthrough; -ENOENT: there is none, or
 * not all of it is present and trusted. */
int store_open_readonly(struct store *s, const char *path, uint64_t ino);

struct store_file;
/* Opened more than once: all have this one object, and each closes it. */
bool store_file_shared(struct store_file *f);
/* Names the local file, as long as anybody has or visits it. */
uint64_t store_file_number(const struct store_file *f);
/* Somebody counts on what the file has, without a descriptor, until store_visit_end(). Waits for
 * local I/O of who gives its bytes back, or opens it: then false: what was known of it may be over.
 */
bool store_visit(struct store *s, uint64_t number);
void store_visit_end(struct store *s, uint64_t number);
bool store_file_visited(struct store_file *f);
