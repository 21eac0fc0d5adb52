/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by the readers of an index: index.c (file, leaves), index_node.c, index_dir.c,
 * index_xattr.c, index_data.c, index_pack.c. */
#pragma once
#include <endian.h>
#include "fetch/base/lock.h"
#include "fetch/index/index.h"

struct index {
	unsigned refs; /* atomic */
	int fd;        /* owned */
	/* Owned: the address space of the file. Leaves and tail are filled in; of the rest, the
	 * pieces that were checked. */
	uint8_t *map;
	uint64_t size;
	char *name; /* owned */
	struct digest root;
	struct index_tail tail; /* in the machine's order */
	uint64_t root_nid;
	uint32_t xattr_block;
	uint32_t *
	        checked; /* owned; atomic: a bit for each piece that is in memory, and its leaf's */
	struct mutex lock;
	uint32_t users, loaded; /* of index_enter(), and pieces in memory; under `lock` */
	uint32_t loaded_max;
};

/* While anybody uses the index, no piece goes. INDEX_USE: in the block that it stands in; each
 * function of index.h begins with it. */
void index_enter(struct index *x);
void index_leave(struct index *x);
static inline void index_used(struct index **x)
{
	index_leave(*x);
}
#define INDEX_USE(x)                                                                               \
	__attribute__((unused, cleanup(index_used))) struct index *index_user = (x);               \
	index_enter(x)

/* `length` bytes of the index from `offset` on, checked; NULL: not in the index, or damaged. With
 * INDEX_USE. */
const void *index_at(struct index *x, uint64_t offset, uint64_t length, GError **error);
/* The same within the image. */
const void *index_image_at(struct index *x, uint64_t offset, uint64_t length, GError **error);
/* false, with FETCH_PROTOCOL: "NAME: inode NID: WHAT". */
bool index_refuse(const struct index *x, uint64_t nid, GError **error, const char *what);
/* Flat data (directories, symlinks): block `n` of it, *length bytes. */
const void *index_flat(struct index *x, const struct index_node *node, uint64_t n, size_t *length,
                       GError **error);
/* The object that frame `number` belongs to. */
bool index_frame_owner(struct index *x, uint32_t number, struct index_pack *out, GError **error);
