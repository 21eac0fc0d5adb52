/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Sends the files of a list to the daemons of their mounts, in batches: each file is open
 * meanwhile, so that the daemon keeps its inode.
 */
#pragma once
#include <json-glib/json-glib.h>
#include "fuse/cli/filelist.h"

struct batch_ops {
	const char *verb; /* of lacuna/control.h, of a list of inodes */
	/* No answer for `path`. */
	void (*failed)(void *user, const char *path, const char *cause);
	/* A line of the answer; `path`: its file, NULL: of no file, or of one answered before. */
	void (*answered)(void *user, const char *path, JsonObject *answer);
	/* Before each batch, and after each line; false: stop. */
	bool (*goes_on)(void *user);
	void (*begins)(void *user); /* before each batch; may be NULL */
};

/* false: no daemon was asked for anything. */
bool batch_run(const struct filelist *list, GPtrArray *mounts, const struct batch_ops *ops,
               void *user);
/* One directory of a mount. */
void batch_run_directory(const char *path, dev_t dev, ino_t ino, GPtrArray *mounts,
                         const struct batch_ops *ops, void *user);
