/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A walk of the whole store: what it uses, and which of its files can be fetched again.
 * Cost:    5 to 12 µs a file, once the file system's metadata is in memory
 * Memory:  the paths of directories that are still to be read; the numbers of files with several
 *          names
 * Locking: none; objects that come and go meanwhile may be missed
 * Errors:  -errno of a directory that could not be read: the sums are of no use then
 */
#pragma once
#include "fetch/store/disk/space.h"

struct measured {           /* a file with fetched data */
	const char *path;   /* in STORE/tree; "/packs/…": in STORE/state */
	uint64_t number;    /* its st_ino */
	uint64_t bytes;     /* its blocks; some may be local data */
	int64_t fetched_ns; /* its ctime, CLOCK_REALTIME */
};

struct measure {
	void (*file)(void *user, const struct measured *m);
	bool (*wanted)(void *user); /* before each directory; false: -ECANCELED */
	void *user;
};

/* The sums are those of the store's counts from here on. */
int store_measure(struct store *s, const struct measure *m);
