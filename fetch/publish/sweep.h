/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Removes what the current version of a published tree does not need (`publish --gc`).
 * What goes: index-<root> and head-<root> of other roots than the head's, and packs that neither
 *            the current version nor one that stays refers to; if their last change of status
 *            (ctime) is older than the grace time. output_commit() makes such a change to a
 *            version that it replaces; a copy of the tree counts from when it was made. Nothing
 *            else is ever removed
 * Before:    the folder is locked as by a publish; all names are read, and all of the indexes that
 *            stay is verified. If any of that fails, nothing is removed
 * Errors:    LOCAL_ERROR, FETCH_PROTOCOL
 */
#pragma once
#include <stdint.h>
#include "fetch/base/error.h"

struct sweep_result {
	unsigned removed, kept; /* files; kept: within the grace time */
	uint64_t bytes;         /* of the removed */
};

/* `directory`: that has .lacuna. */
bool sweep(const char *directory, int64_t grace_s, struct sweep_result *out, GError **error);
