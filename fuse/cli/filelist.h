/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The regular files below some paths in lacunafs mounts, each file once, no mount crossed.
 * Shape: in the order of the walk; hard links of a file are one entry
 * Owns:  the paths
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct filelist_entry {
	char *path;
	uint64_t size;
	dev_t dev;
	ino_t ino;
};

struct filelist {
	GArray *entries;  /* of struct filelist_entry */
	GHashTable *seen; /* set of (dev, ino), owned */
	uint64_t bytes;
};

struct filelist_ops {
	/* `path` could not be examined, or is an argument outside of `mounts`. */
	void (*failed)(void *user, const char *path, const char *cause);
	/* At intervals. false: stop. */
	bool (*walking)(void *user, const struct filelist *list);
	/* Before a directory is read, and after its end; may be NULL. */
	void (*directory)(void *user, const char *path, dev_t dev, ino_t ino);
	void (*listed)(void *user, const char *path, dev_t dev, ino_t ino);
};

struct filelist *filelist_new(void);
void filelist_free(struct filelist *l);
/* `mounts`: those of mounts_read(). */
void filelist_walk(struct filelist *l, char **paths, const GPtrArray *mounts,
                   const struct filelist_ops *ops, void *user);
