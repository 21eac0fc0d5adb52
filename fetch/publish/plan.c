/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/plan.h"
#include <errno.h>
#include "fetch/index/format.h"

struct plan *plan_new(int scratch_dir, GError **error)
{
	struct spill *spill = spill_new(scratch_dir, error);
	if (spill == NULL)
		return NULL;
	struct plan *p = g_new0(struct plan, 1);
	p->spill = spill;
	p->links = link_table_new();
	p->pool = xattr_pool_new();
	p->nids = g_array_new(FALSE, TRUE, sizeof(uint64_t));
	p->meta_end = EROFS_BLOCK;
	return p;
}

void plan_free(struct plan *p)
{
	if (p == NULL)
		return;
	spill_free(p->spill);
	link_table_free(p->links);
	xattr_pool_free(p->pool);
	g_array_free(p->nids, TRUE);
	g_free(p);
}

bool packing_add(struct packing *p, size_t name_length)
{
	size_t size = sizeof(struct erofs_dirent) + name_length;
	bool next = p->used + size > EROFS_BLOCK;
	if (next) {
		p->full++;
		p->used = 0;
	}
	p->used += size;
	return next;
}

uint64_t packing_size(const struct packing *p)
{
	return p->full * EROFS_BLOCK + p->used;
}

static bool too_large(GError **error, const char *what)
{
	g_set_error(error, LOCAL_ERROR, EFBIG, "the tree is too large for an index: %s", what);
	return false;
}

/* The nid of an inode of a given size; `whole`: it does not cross a block (size ≤ 4096). 0: the
 * index would be too large. */
static uint64_t inode_take(struct plan *p, uint64_t size, bool whole)
{
	const uint64_t unit = UINT64_C(1) << EROFS_NID_SHIFT;
	uint64_t at = index_round(p->meta_end, unit), room = EROFS_BLOCK - at % EROFS_BLOCK;
	/* the inode itself never crosses a block, which spares every reader that case */
	if (room < (whole ? size : sizeof(struct erofs_inode)))
		at += room;
	if (at + size > INDEX_SIZE_MAX / 2)
		return 0;
	p->meta_end = at + size;
	p->inodes++;
	return at >> EROFS_NID_SHIFT;
}

uint64_t plan_inode_size(const struct spill_inode *i)
{
	return sizeof(struct erofs_inode) + i->xattr_size;
}

static bool place(struct plan *p, struct spill_inode *i, uint64_t size, bool whole, GError **error)
{
	i->nid = inode_take(p, size, whole);
	return i->nid != 0 || too_large(error, "too many files");
}

static uint64_t last_part(const struct spill_inode *i)
{
	return i->size - (i->size - 1) / EROFS_BLOCK * EROFS_BLOCK;
}

bool plan_inline(const struct spill_inode *i)
{
	return plan_inode_size(i) + last_part(i) <= EROFS_BLOCK;
}

bool plan_flat(struct plan *p, struct spill_inode *i, uint64_t size, GError **error)
{
	i->size = size;
	i->data = (uint32_t)p->data_blocks;
	bool is_inline = plan_inline(i);
	uint64_t blocks = (size - 1) / EROFS_BLOCK + !is_inline, last = last_part(i);
	if (p->data_blocks + blocks >= UINT32_MAX)
		return too_large(error, "too many names");
	p->data_blocks += blocks;
	return place(p, i, plan_inode_size(i) + (is_inline ? last : 0), is_inline, error);
}

bool plan_special(struct plan *p, struct spill_inode *i, GError **error)
{
	return place(p, i, plan_inode_size(i), false, error);
}

uint32_t plan_objects(const struct plan *p)
{
	return p->frames / OBJECT_FRAMES + (p->frames % OBJECT_FRAMES != 0);
}

uint64_t plan_object_digests(const struct plan *p)
{
	return (uint64_t)p->frames * (FRAME_SIZE / DIGEST_BLOCK);
}

/* Puts a whole small file behind the one before it, or into a new frame. */
static void pack_place(struct plan *p, const struct spill_inode *i, struct spill_run *r, guint runs)
{
	r->frame = INDEX_FRAME_NONE;
	if (!p->packs || runs != 1 || r->length != i->size || i->size > PACK_FILE_MAX)
		return;
	if (p->frames == 0 || p->frame_used + r->length > FRAME_SIZE) {
		p->frames++;
		p->frame_used = 0;
	}
	r->frame = p->frames - 1;
	r->place = p->frame_used;
	p->frame_used += (uint32_t)r->length;
}

bool plan_file(struct plan *p, struct spill_inode *i, GArray *runs, GError **error)
{
	uint64_t chunk = UINT64_C(1) << (EROFS_BLOCK_BITS + (i->data & EROFS_CHUNK_BITS));
	uint64_t chunks = i->size == 0 ? 0 : (i->size - 1) / chunk + 1;
	for (guint n = 0; n < runs->len; n++) {
		struct spill_run *r = &g_array_index(runs, struct spill_run, n);
		r->block = (uint32_t)p->blocks;
		r->digest = (uint32_t)p->digests;
		p->blocks += (r->length - 1) / EROFS_BLOCK + 1;
		p->digests += (r->length - 1) / DIGEST_BLOCK + 1;
		p->bytes += r->length;
		p->extents++;
		pack_place(p, i, r, runs->len);
		/* the last address stands for a hole */
		if (p->blocks >= UINT32_MAX || p->extents >= UINT32_MAX ||
		    p->digests + plan_object_digests(p) >= UINT32_MAX)
			return too_large(error, "more than 16 TiB of data");
	}
	p->data_files += runs->len > 0;
	uint64_t size = plan_inode_size(i);
	if (chunks > 0)
		size = index_round(size, sizeof(struct erofs_chunk)) +
		       chunks * sizeof(struct erofs_chunk);
	return place(p, i, size, false, error);
}
