/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Files of a list, told to the daemons of their mounts in batches: their inodes are held
 * meanwhile, so that the daemon knows them all along.
 */
#pragma once
#include <json-glib/json-glib.h>
#include "fuse/cli/filelist.h"

struct batch_ops {
	const char *verb; /* of lacuna/control.h, of a list of inodes */
	/* `path` was not answered for. */
	void (*failed)(void *user, const char *path, const char *cause);
	/* A line of the answer; `path`: of the file it is about, NULL: of none, or told before. */
	void (*answered)(void *user, const char *path, JsonObject *answer);
	/* Before each batch, and after each line; false: it ends. */
	bool (*goes_on)(void *user);
	void (*begins)(void *user); /* a batch; may be NULL */
};

/* false: no daemon was asked for anything. */
bool batch_run(const struct filelist *list, GPtrArray *mounts, const struct batch_ops *ops,
               void *user);
/* One directory of a mount. */
void batch_run_directory(const char *path, dev_t dev, ino_t ino, GPtrArray *mounts,
                         const struct batch_ops *ops, void *user);
