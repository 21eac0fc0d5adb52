/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* An index (format.h), read where it lies: nothing of it is parsed into memory.
 * Shape:   nodes are numbered by nid, their place in the image
 * Units:   bytes; times in ns since 1970
 * Owns:    its file, and copies of pieces of 64 KiB; reference counted (atomic)
 * Memory:  32 MiB of pieces, and those read meanwhile if there is a call at any time. Not the
 *          mapped file: its disk may fail, and who can write to it could change it after the check
 * Locking: immutable; every function from any thread. Reading may wait for the local disk
 * Trust:   nothing in it is believed. Opening checks the leaves against the root; each piece is
 *          compared with its leaf when it is read; offsets, counts, names and types are checked at
 *          each use. A directory has one parent, the one that its ".." names, so no way down from
 *          the root leads into a circle
 * Errors:  FETCH_PROTOCOL for damage, LOCAL_ERROR for the file itself; outputs stay untouched
 */
#pragma once
#include "fetch/base/error.h"
#include "fetch/index/digest.h"

struct index;

/* Takes `fd`. `name`: for messages. `root` NULL: any, for tests. */
struct index *index_open(int fd, const char *name, const struct digest *root, GError **error);
struct index *index_ref(struct index *x);
void index_unref(struct index *x);
const struct digest *index_root(const struct index *x);
const struct index_tail *index_tail(const struct index *x);
/* Compares all of it with its leaves, at once. */
bool index_verify(struct index *x, GError **error);

struct index_node {
	uint64_t nid;
	uint32_t mode;
	uint32_t uid, gid;
	uint32_t nlink;
	uint32_t rdev;     /* (major << 20) | minor */
	uint32_t identity; /* i_ino; of names that are one file: the same in each version */
	uint64_t size;     /* < 2^63 */
	int64_t mtime_ns;
	/* private: */
	uint32_t layout, data;
	uint32_t xattr_size;
};

/* A later version is in use: what this one keeps in memory goes at the end of each call. */
void index_retire(struct index *x);

bool index_node(struct index *x, uint64_t nid, struct index_node *out, GError **error);
/* The root directory. */
bool index_top(struct index *x, struct index_node *out, GError **error);
/* The node at `path` (as in source.h). FETCH_MISSING: there is none. */
bool index_find(struct index *x, const char *path, struct index_node *out, GError **error);

/* Calls `each` for every name but "." and "..", in order; false ends the walk, with its error.
 * `parent`: the nid that ".." must have. */
struct index_name {
	const char *name; /* not NUL-terminated; into the index */
	size_t length;
	uint64_t nid;
	uint8_t type; /* enum erofs_type */
};
typedef bool (*index_each)(void *user, const struct index_name *name, GError **error);
bool index_list(struct index *x, const struct index_node *directory, uint64_t parent,
                index_each each, void *user, GError **error);

/* A symlink's; caller frees. */
char *index_target(struct index *x, const struct index_node *link, GError **error);

/* Calls `each` for every xattr: full name, value into the index, for that call. */
typedef void (*index_xattr)(void *user, const char *name, const void *value, size_t size);
bool index_xattrs(struct index *x, const struct index_node *node, index_xattr each, void *user,
                  GError **error);

/* A number for the content of a file: a hash of its size and all its digests; never 0. */
bool index_version(struct index *x, const struct index_node *file, uint64_t *version,
                   GError **error);
/* The digest of the block of DIGEST_BLOCK bytes of a file that begins at `offset`; or it is a hole.
 */
bool index_block(struct index *x, const struct index_node *file, uint64_t offset, bool *hole,
                 struct digest *digest, GError **error);

/* ---- packs ---- */

/* An object. Its *content* is that of its frames, at multiples of FRAME_SIZE; zeros are between. */
struct index_pack {
	uint32_t number;
	struct digest id;
	uint64_t size, content; /* bytes; > 0 */
	uint32_t frame, frames;
	uint32_t digest;
};

bool index_pack(struct index *x, uint32_t number, struct index_pack *out, GError **error);
/* The object `id`. false, without an error: there is none. */
bool index_pack_find(struct index *x, const struct digest *id, struct index_pack *out,
                     GError **error);
/* Frame `n` of it, 0 the first, in the machine's order: its bytes are in the object. */
bool index_pack_frame(struct index *x, const struct index_pack *p, uint32_t n,
                      struct index_frame *out, GError **error);
/* The digest of block `n` of the object's bytes. */
bool index_pack_block(struct index *x, const struct index_pack *p, uint64_t n, struct digest *out,
                      GError **error);
/* Is all of the file in an object? *out, and at which offset of its content. */
bool index_packed(struct index *x, const struct index_node *file, bool *packed,
                  struct index_pack *out, uint64_t *offset, GError **error);
