/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* From an offset in a file to its address, its extent, and its digest. */
#include <errno.h>
#include <sys/stat.h>
#include <xxhash.h>
#include "fetch/index/index_private.h"

/* The address of `offset`, in blocks; EROFS_HOLE. */
static bool address_of(struct index *x, const struct index_node *f, uint64_t offset,
                       uint64_t *block, GError **error)
{
	unsigned bits = EROFS_BLOCK_BITS + (f->data & EROFS_CHUNK_BITS);
	uint64_t chunk = offset >> bits, within = offset & ((UINT64_C(1) << bits) - 1);
	uint64_t table = (f->nid << EROFS_NID_SHIFT) + sizeof(struct erofs_inode) + f->xattr_size;
	if ((f->data & ~EROFS_CHUNK_BITS) != EROFS_CHUNK_INDEXES)
		return index_refuse(x, f->nid, error, "an unknown format of its chunks");
	if (UINT64_C(1) << bits < DIGEST_BLOCK && f->size > UINT64_C(1) << bits)
		return index_refuse(x, f->nid, error,
		                    "chunks that are smaller than a digest's block");
	table = index_round(table, sizeof(struct erofs_chunk));
	if (chunk >= INDEX_SIZE_MAX / sizeof(struct erofs_chunk))
		return index_refuse(x, f->nid, error, "more chunks than an index has room for");
	const struct erofs_chunk *c =
	        index_image_at(x, table + chunk * sizeof(*c), sizeof(*c), error);
	if (c == NULL)
		return false;
	if (le32toh(c->block) == EROFS_HOLE) {
		*block = EROFS_HOLE;
		return true;
	}
	if (le16toh(c->device) != 1)
		return index_refuse(x, f->nid, error, "data that is not on device 1");
	*block = le32toh(c->block) + (within >> EROFS_BLOCK_BITS);
	return true;
}

static const struct index_extent *extents_at(struct index *x, uint32_t n, GError **error)
{
	return index_at(x, x->tail.extents + (uint64_t)n * sizeof(struct index_extent),
	                sizeof(struct index_extent), error);
}

/* The last extent that does not begin after `block`. */
static bool extent_find(struct index *x, const struct index_node *f, uint64_t block,
                        const struct index_extent **out, GError **error)
{
	uint32_t low = 0, high = x->tail.extent_count;
	const struct index_extent *e;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		e = extents_at(x, middle, error);
		if (e == NULL)
			return false;
		if (le32toh(e->block) <= block)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return index_refuse(x, f->nid, error, "an address without an extent");
	*out = extents_at(x, low - 1, error);
	return *out != NULL;
}

/* What is at `offset`, which a block begins at. */
struct place {
	bool hole;
	uint64_t digest;                   /* number of the block's */
	uint64_t blocks;                   /* from it on, of the same extent or hole */
	const struct index_extent *extent; /* in the index; NULL: a hole */
};

static bool place_in_hole(const struct index_node *f, uint64_t offset, struct place *out)
{
	uint64_t chunk = UINT64_C(1) << (EROFS_BLOCK_BITS + (f->data & EROFS_CHUNK_BITS));
	uint64_t end = MIN((offset / chunk + 1) * chunk, f->size);
	*out = (struct place){.hole = true,
	                      .blocks = (end - offset + DIGEST_BLOCK - 1) / DIGEST_BLOCK};
	return true;
}

static bool place_of(struct index *x, const struct index_node *f, uint64_t offset,
                     struct place *out, GError **error)
{
	const struct index_extent *e = NULL;
	uint64_t block = 0;
	if (!address_of(x, f, offset, &block, error))
		return false;
	if (block == EROFS_HOLE)
		return place_in_hole(f, offset, out);
	if (!extent_find(x, f, block, &e, error))
		return false;
	uint64_t within = (block - le32toh(e->block)) * EROFS_BLOCK, length = le64toh(e->length);
	/* the block of the file and the block of the extent are the same bytes */
	if (within % DIGEST_BLOCK != 0 || within >= length || length > f->size ||
	    MIN(DIGEST_BLOCK, length - within) != MIN(DIGEST_BLOCK, f->size - offset))
		return index_refuse(x, f->nid, error, "an extent that is not the file's");
	bool framed = le32toh(e->frame) != INDEX_FRAME_NONE;
	if (framed ? length != f->size || length > PACK_FILE_MAX
	           : le64toh(e->offset) != offset - within)
		return index_refuse(x, f->nid, error, "an extent from another place of the file");
	uint64_t number = le32toh(e->digest) + within / DIGEST_BLOCK;
	uint64_t blocks = (length - within + DIGEST_BLOCK - 1) / DIGEST_BLOCK;
	if (number + blocks > x->tail.digest_count)
		return index_refuse(x, f->nid, error, "a digest that is not in the index");
	*out = (struct place){.digest = number, .blocks = blocks, .extent = e};
	return true;
}

bool index_packed(struct index *x, const struct index_node *file, bool *packed,
                  struct index_pack *out, uint64_t *offset, GError **error)
{
	INDEX_USE(x);
	struct place place = {.hole = true};
	struct index_frame frame;
	if (S_ISREG(file->mode) && file->size > 0 && file->size <= PACK_FILE_MAX &&
	    !place_of(x, file, 0, &place, error))
		return false;
	*packed = !place.hole && le32toh(place.extent->frame) != INDEX_FRAME_NONE;
	if (!*packed)
		return true;
	uint32_t number = le32toh(place.extent->frame);
	uint64_t within = le64toh(place.extent->offset);
	struct index_pack p;
	if (!index_frame_owner(x, number, &p, error) ||
	    !index_pack_frame(x, &p, number - p.frame, &frame, error))
		return false;
	if (within > frame.size || file->size > frame.size - within)
		return index_refuse(x, file->nid, error, "data beyond the end of its frame");
	*out = p;
	*offset = (number - p.frame) * FRAME_SIZE + within;
	return true;
}

bool index_block(struct index *x, const struct index_node *file, uint64_t offset, bool *hole,
                 struct digest *digest, GError **error)
{
	INDEX_USE(x);
	struct place place;
	g_assert(S_ISREG(file->mode) && offset < file->size && offset % DIGEST_BLOCK == 0);
	if (!place_of(x, file, offset, &place, error))
		return false;
	const struct digest *d = NULL;
	if (!place.hole)
		d = index_at(x, x->tail.digests + place.digest * DIGEST_SIZE, DIGEST_SIZE, error);
	if (!place.hole && d == NULL)
		return false;
	*hole = place.hole;
	if (d != NULL)
		*digest = *d;
	return true;
}

bool index_version(struct index *x, const struct index_node *file, uint64_t *version,
                   GError **error)
{
	INDEX_USE(x);
	XXH3_state_t *hash = XXH3_createState();
	bool ok = hash != NULL;
	if (!ok)
		g_set_error(error, LOCAL_ERROR, ENOMEM, "%s: no memory", x->name);
	else
		XXH3_64bits_reset_withSeed(hash, file->size);
	for (uint64_t at = 0; ok && at < file->size;) {
		struct place p;
		ok = place_of(x, file, at, &p, error);
		if (!ok)
			break;
		const void *digests = p.hole ? NULL
		                             : index_at(x, x->tail.digests + p.digest * DIGEST_SIZE,
		                                        p.blocks * DIGEST_SIZE, error);
		ok = p.hole || digests != NULL;
		if (ok && p.hole)
			XXH3_64bits_update(hash, &p.blocks, sizeof(p.blocks));
		else if (ok)
			XXH3_64bits_update(hash, digests, p.blocks * DIGEST_SIZE);
		at += p.blocks * DIGEST_BLOCK;
	}
	if (ok) {
		uint64_t value = XXH3_64bits_digest(hash);
		*version = value != 0 ? value : 1;
	}
	XXH3_freeState(hash);
	return ok;
}
