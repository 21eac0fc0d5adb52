/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Giving local space back, and taking newer versions. The source is asked first, and both have the
 * file for themselves then (claim.h): what is given up can be fetched again, and the kernel has
 * forgotten it before the next open.
 * Errors:  positive errnos with a cause, static: why the file was left alone
 */
#pragma once
#include "fuse/ops/leaving.h"

/* Gives back what can be fetched again; of a directory, what leftovers.h says. Blocks on disk and
 * network. */
void evict_file(struct server *s, struct inode *i, struct leaving *out);
/* A file: as the source has it now, if nothing of it was changed here; a directory is listed
 * anew. Blocks on disk and network. */
void refresh_file(struct server *s, struct inode *i, struct leaving *out);
