/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The folder of objects in a `.lacuna`: immutable files that are named by their digest.
 * Order:   an object is written as ".tmp-<n>" in `.lacuna`, synced, and then gets its name; the
 *          folder is synced by objects_sync(). So an object that has its name is whole
 * Owns:    the objects that it has made, until an index that names them has its name: if it never
 *          gets one they go, those that were there before stay
 * Locking: objects_put() from any thread
 * Errors:  LOCAL_ERROR
 */
#pragma once
#include "fetch/index/digest.h"
#include "fetch/publish/output.h"

struct objects;

struct objects *objects_open(const struct output *o, GError **error);
/* `index`: of the file that names them; NULL: there is none. */
void objects_close(struct objects *b, const char *index);
/* Makes the object `id` of these bytes, unless it is there. */
bool objects_put(struct objects *b, const struct digest *id, const void *data, size_t size,
                 GError **error);
/* Before an index that names them gets its name. */
bool objects_sync(struct objects *b, GError **error);
