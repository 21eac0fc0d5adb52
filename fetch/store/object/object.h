/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A local object of the store: a file with its record and other metadata.
 * Errors: -errno
 */
#pragma once
#include "fetch/base/listing.h"
#include "fetch/store/disk/store.h"

/* The attributes of a remote file when its local file is created. */
struct store_origin {
	uint64_t ino; /* remote identity; the key by which hard links find one another */
	uint64_t size;
	int64_t mtime_ns;
	uint64_t version; /* source_version the chunks are pinned to */
	uint32_t mode, uid, gid;
	uint32_t nlink; /* > 1: indexed by ino */
};

/* The listed attributes of an object that becomes kept. */
struct store_kept {
	const char *remote;            /* its path there */
	const struct listing *listing; /* has its xattrs; NULL: none are known */
	uint32_t index;                /* of its entry */
	uint32_t nlink;
	const struct store_origin
	        *origin; /* of a file: its owner and mode; NULL: as the daemon made it */
};
/* The number of files that may be damaged and were set aside: state/orphans. */
uint64_t store_set_aside(struct store *s);

/* The local file at `path` (else, by hard-link index, at `ino`): one look, no
 * descriptor kept. -ENOENT: no local file. */
struct store_probe {
	uint64_t size;
	uint64_t version;
	int64_t mtime_ns;
	bool complete; /* every chunk present and trusted */
};
int store_probe(struct store *s, const char *path, uint64_t ino, struct store_probe *out);

/* A new O_RDONLY descriptor of the local file, for passthrough; -ENOENT: no such file, or
 * not all of its chunks are present and trusted. */
int store_open_readonly(struct store *s, const char *path, uint64_t ino);

struct store_file;
/* The file was opened more than once: all users share this object, and each closes it. */
bool store_file_shared(struct store_file *f);
/* Identifies the local file, as long as it is open or visited. */
uint64_t store_file_number(const struct store_file *f);
/* Keeps the file's data without a descriptor, until store_visit_end(). Waits for the local I/O of
 * an eviction or an open: then false: the caller's knowledge of the file may be outdated. */
bool store_visit(struct store *s, uint64_t number);
void store_visit_end(struct store *s, uint64_t number);
bool store_file_visited(struct store_file *f);
