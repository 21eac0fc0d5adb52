/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Reads a pack, or a file that is in one: the frames that the range needs, by one request of the
 * object, decompressed as they arrive.
 * Proof:   blocks of the object are compared with the index below the mirrors; nothing is
 *          decompressed before
 * Memory:  a frame, and its content, for each read under way
 * Errors:  as a source; "OBJECT: frame N: …"
 */
#pragma once
#include "fetch/source/index/edition.h"

/* What a read is of. */
struct pack_range {
	struct index_pack pack;
	uint64_t base;          /* in the pack's content; 0 */
	source_version version; /* of what is read */
	uint64_t size;          /* likewise */
	bool whole;             /* the pack itself: all of its frames' content is of use */
};

/* Where the content of `path` is: the pack at packed.path of source.h, or a file in a pack.
 * *found false: neither, if there is no error. */
bool pack_range_of(struct edition *e, const char *path, bool *found, struct pack_range *out,
                   GError **error);
bool pack_path_is(const char *path);
/* As source_ops.packed. */
bool pack_of(struct edition *e, const char *path, uint64_t size, struct source_packed *out);
/* Answers `outer` from `inner`, and then calls `ended`, which calls outer's `done`. */
void pack_read(struct edition *e, struct source *inner, const struct pack_range *range,
               struct source_read *outer, void (*ended)(void *user, const GError *error),
               void *user);
/* Asks for the size of a pack's object, and then calls `ended`. false: the index has no such pack.
 */
bool pack_stat(struct edition *e, struct source *inner, struct source_stat *outer,
               void (*ended)(void *user, const GError *error), void *user, GError **error);
