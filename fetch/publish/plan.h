/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What an index will have, and where: each inode, directory block, address and digest gets its
 * place while the tree is walked. So the image can then be written in one pass, and data be hashed
 * in any order.
 * Owns:  spill, links, pool
 */
#pragma once
#include <sys/stat.h>
#include "fetch/publish/link_table.h"
#include "fetch/publish/spill.h"
#include "fetch/publish/xattr_pool.h"

struct plan {
	struct spill *spill;
	struct link_table *links;
	struct xattr_pool *pool;
	GArray *nids;         /* uint64_t, by the number of a directory */
	uint64_t meta_end;    /* bytes: inodes end here */
	uint64_t data_blocks; /* of directories and long targets, behind the inodes */
	uint64_t blocks;      /* of the data address space */
	uint64_t digests, extents;
	uint64_t inodes, files, bytes;
	uint64_t data_files; /* that have data */
	bool packs;          /* small files go into packs */
	uint32_t frames;
	uint32_t frame_used; /* bytes of the last one's content */
};

struct plan *plan_new(int scratch_dir, GError **error);
void plan_free(struct plan *p);

/* Directory blocks as EROFS fills them: names in order, as many as a block takes. */
struct packing {
	uint64_t full;
	size_t used;
};
/* Is another block begun for a name of that length? */
bool packing_add(struct packing *p, size_t name_length);
uint64_t packing_size(const struct packing *p);

/* Places `i`, of a directory or a symlink with `size` bytes of data: inline or in blocks. */
bool plan_flat(struct plan *p, struct spill_inode *i, uint64_t size, GError **error);
/* Places `i`, of a file, and its runs of chunks (spill_run: chunk, count, length are set). */
bool plan_file(struct plan *p, struct spill_inode *i, GArray *runs, GError **error);
/* Packs: each has OBJECT_FRAMES frames, the last one the others. All have the most digests that
 * they may need: how many they use is known when they are compressed. */
uint32_t plan_objects(const struct plan *p);
uint64_t plan_object_digests(const struct plan *p);
/* Places `i` that has no data. */
bool plan_special(struct plan *p, struct spill_inode *i, GError **error);

/* Of the inode and its xattrs. */
uint64_t plan_inode_size(const struct spill_inode *i);
/* Is the last part of its flat data behind the inode? */
bool plan_inline(const struct spill_inode *i);
