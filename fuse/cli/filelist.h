/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The regular files below some paths, each file once, no mount crossed.
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
	unsigned errors; /* told to failed() */
};

struct filelist_ops {
	/* `path`, one of those given, is on that device. false: nothing of it is wanted. */
	bool (*argument)(void *user, const char *path, dev_t dev);
	/* `path` could not be looked at. */
	void (*failed)(void *user, const char *path, int code);
	/* Now and then. false: the walk ends. */
	bool (*walking)(void *user, const struct filelist *list);
	/* About to be read, and read to its end; may be NULL. */
	void (*directory)(void *user, const char *path, dev_t dev, ino_t ino);
	void (*listed)(void *user, const char *path, dev_t dev, ino_t ino);
};

struct filelist *filelist_new(void);
void filelist_free(struct filelist *l);
void filelist_walk(struct filelist *l, char **paths, const struct filelist_ops *ops, void *user);
