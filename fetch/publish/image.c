/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/image.h"
#include <endian.h>
#include <string.h>
#include "fetch/publish/writer.h"

/* One pass over the spill writes three parts of the file side by side. */
struct image {
	const struct plan *plan;
	uint64_t first_block; /* of directories and long targets */
	struct writer inodes, blocks, extents;
	uint8_t block[EROFS_BLOCK]; /* a directory's, being filled */
};

void image_layout(const struct plan *p, struct index_tail *out)
{
	uint64_t blocks = index_round(p->meta_end, EROFS_BLOCK) + p->data_blocks * EROFS_BLOCK;
	struct index_tail t = {
	        .magic = INDEX_MAGIC,
	        .version = INDEX_VERSION,
	        .image_size = blocks + index_round(xattr_pool_area(p->pool)->len, EROFS_BLOCK),
	        .extent_count = (uint32_t)p->extents,
	        .object_count = plan_objects(p),
	        .frame_count = p->frames,
	        .digest_count = (uint32_t)(p->digests + plan_object_digests(p)),
	        .files = p->files,
	        .bytes = p->bytes,
	};
	index_tail_place(&t);
	t.size = t.leaves + (t.leaves + DIGEST_BLOCK - 1) / DIGEST_BLOCK * DIGEST_SIZE + sizeof(t);
	*out = t;
}

static bool super_write(const struct image *m, const struct index_tail *t, int fd, GError **error)
{
	const struct plan *p = m->plan;
	const GByteArray *area = xattr_pool_area(p->pool);
	struct erofs_super s = {
	        .magic = htole32(EROFS_MAGIC),
	        .feature_compat = htole32(EROFS_COMPAT_MTIME),
	        .block_bits = EROFS_BLOCK_BITS,
	        .root_nid = htole16((uint16_t)g_array_index(p->nids, uint64_t, 0)),
	        .inodes = htole64(p->inodes),
	        .blocks = htole32((uint32_t)(t->image_size / EROFS_BLOCK)),
	        .xattr_block = htole32((uint32_t)(m->first_block + p->data_blocks)),
	        .feature_incompat = htole32(EROFS_INCOMPAT_CHUNKED | EROFS_INCOMPAT_DEVICES),
	        .devices = htole16(1),
	        .device_slot = htole16(EROFS_DEVICE_AT / EROFS_DEVICE_SLOT),
	};
	/* a device has a block, even if no file has data */
	struct erofs_device d = {.blocks = htole32((uint32_t)MAX(p->blocks, 1))};
	return writer_put(fd, EROFS_SUPER_AT, &s, sizeof(s), error) &&
	       writer_put(fd, EROFS_DEVICE_AT, &d, sizeof(d), error) &&
	       writer_put(fd, (m->first_block + p->data_blocks) * EROFS_BLOCK, area->data,
	                  area->len, error);
}

/* The inode and its xattrs; its data follows. */
static bool inode_write(struct image *m, const struct spill_inode *i, unsigned layout,
                        uint32_t data, uint32_t nlink, const void *xattrs, GError **error)
{
	uint32_t words = i->xattr_size;
	struct erofs_inode e = {
	        .format = htole16((uint16_t)(layout << 1 | EROFS_FORMAT_EXTENDED)),
	        .xattr_count = htole16(words ? (uint16_t)((words - 12) / 4 + 1) : 0),
	        .mode = htole16((uint16_t)i->mode),
	        .size = htole64(i->size),
	        .data = htole32(data),
	        .ino = htole32(i->identity),
	        .uid = htole32(i->uid),
	        .gid = htole32(i->gid),
	        .seconds = htole64((uint64_t)i->seconds),
	        .nanoseconds = htole32(i->nanoseconds),
	        .nlink = htole32(nlink),
	};
	return writer_to(&m->inodes, i->nid << EROFS_NID_SHIFT, error) &&
	       writer_add(&m->inodes, &e, sizeof(e), error) &&
	       writer_add(&m->inodes, xattrs, words, error);
}

/* ---- directories ---- */

struct filling {
	struct image *image;
	const struct spill_directory *directory;
	struct packing packing;
	struct {
		uint64_t nid;
		const char *name;
		size_t length;
		uint8_t type;
	} names[EROFS_BLOCK / sizeof(struct erofs_dirent)]; /* of the block being filled */
	unsigned count;
};

static uint8_t type_of(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return EROFS_FT_DIRECTORY;
	case S_IFLNK:
		return EROFS_FT_LINK;
	case S_IFCHR:
		return EROFS_FT_CHARACTER;
	case S_IFBLK:
		return EROFS_FT_BLOCK;
	case S_IFIFO:
		return EROFS_FT_FIFO;
	case S_IFSOCK:
		return EROFS_FT_SOCKET;
	default:
		return EROFS_FT_REGULAR;
	}
}

/* Entries, then their names. The size of what is filled. */
static size_t block_fill(struct filling *f)
{
	uint8_t *block = f->image->block;
	size_t at = f->count * sizeof(struct erofs_dirent);
	memset(block, 0, EROFS_BLOCK);
	for (unsigned n = 0; n < f->count; n++) {
		struct erofs_dirent e = {.nid = htole64(f->names[n].nid),
		                         .name = htole16((uint16_t)at),
		                         .type = f->names[n].type};
		memcpy(block + n * sizeof(e), &e, sizeof(e));
		memcpy(block + at, f->names[n].name, f->names[n].length);
		at += f->names[n].length;
	}
	f->count = 0;
	return at;
}

static bool name_add(struct filling *f, const char *name, uint64_t nid, uint8_t type,
                     GError **error)
{
	size_t length = strlen(name);
	if (packing_add(&f->packing, length)) {
		block_fill(f);
		if (!writer_add(&f->image->blocks, f->image->block, EROFS_BLOCK, error))
			return false;
	}
	f->names[f->count].nid = nid;
	f->names[f->count].name = name;
	f->names[f->count].length = length;
	f->names[f->count++].type = type;
	return true;
}

static bool names_add(struct filling *f, GError **error)
{
	const struct spill_directory *d = f->directory;
	const GArray *nids = f->image->plan->nids;
	const uint64_t dot_nids[] = {d->inode.nid, g_array_index(nids, uint64_t, d->parent)};
	const char *const dots[] = {".", ".."};
	unsigned dot = 0;
	const struct spill_entry *e = NULL;
	while ((e = spill_entry_next(d, e)) != NULL) {
		const char *name = spill_entry_name(e);
		uint64_t nid = e->kind == SPILL_DIRECTORY ? g_array_index(nids, uint64_t, e->number)
		                                          : e->inode.nid;
		for (; dot < 2 && strcmp(dots[dot], name) < 0; dot++)
			if (!name_add(f, dots[dot], dot_nids[dot], EROFS_FT_DIRECTORY, error))
				return false;
		if (!name_add(f, name, nid, type_of(e->inode.mode), error))
			return false;
	}
	for (; dot < 2; dot++)
		if (!name_add(f, dots[dot], dot_nids[dot], EROFS_FT_DIRECTORY, error))
			return false;
	return true;
}

/* The last part of flat data: behind the inode, or in a block of its own. */
static bool last_write(struct image *m, const struct spill_inode *i, const void *data, size_t size,
                       GError **error)
{
	if (plan_inline(i))
		return writer_add(&m->inodes, data, size, error);
	return writer_add(&m->blocks, data, size, error) &&
	       writer_to(&m->blocks, index_round(writer_at(&m->blocks), EROFS_BLOCK), error);
}

static unsigned flat_layout(const struct spill_inode *i)
{
	return plan_inline(i) ? EROFS_FLAT_INLINE : EROFS_FLAT_PLAIN;
}

static bool directory_write(struct image *m, const struct spill_directory *d, GError **error)
{
	const struct spill_inode *i = &d->inode;
	g_autofree struct filling *f = g_new0(struct filling, 1);
	f->image = m;
	f->directory = d;
	return inode_write(m, i, flat_layout(i), (uint32_t)m->first_block + i->data, i->nlink,
	                   spill_xattrs(d), error) &&
	       names_add(f, error) && last_write(m, i, m->block, block_fill(f), error);
}

/* ---- all others ---- */

static bool runs_write(struct image *m, const struct spill_entry *e, GError **error)
{
	const struct spill_run *r = spill_entry_runs(e), *end = r + e->runs;
	unsigned bits = EROFS_BLOCK_BITS + (e->inode.data & EROFS_CHUNK_BITS);
	uint64_t chunks = ((e->inode.size - 1) >> bits) + 1;
	uint64_t at = index_round(writer_at(&m->inodes), sizeof(struct erofs_chunk));
	if (!writer_to(&m->inodes, at, error))
		return false;
	for (uint64_t n = 0; n < chunks; n++) {
		struct erofs_chunk c = {.block = htole32(EROFS_HOLE)};
		while (r < end && n >= (uint64_t)r->chunk + r->count)
			r++;
		if (r < end && n >= r->chunk) {
			uint64_t before = (n - r->chunk) << (bits - EROFS_BLOCK_BITS);
			c.device = htole16(1);
			c.block = htole32((uint32_t)(r->block + before));
		}
		if (!writer_add(&m->inodes, &c, sizeof(c), error))
			return false;
	}
	return true;
}

static bool extents_write(struct image *m, const struct spill_entry *e, GError **error)
{
	unsigned bits = EROFS_BLOCK_BITS + (e->inode.data & EROFS_CHUNK_BITS);
	const struct spill_run *r = spill_entry_runs(e);
	for (uint32_t n = 0; n < e->runs; n++) {
		struct index_extent x = {
		        .block = htole32(r[n].block),
		        .digest = htole32(r[n].digest),
		        .length = htole64(r[n].length),
		        .offset = htole64(r[n].frame != INDEX_FRAME_NONE
		                                  ? r[n].place
		                                  : (uint64_t)r[n].chunk << bits),
		        .frame = htole32(r[n].frame),
		};
		if (!writer_add(&m->extents, &x, sizeof(x), error))
			return false;
	}
	return true;
}

static bool node_write(struct image *m, const struct spill_entry *e, GError **error)
{
	const struct spill_inode *i = &e->inode;
	const void *xattrs = spill_entry_xattrs(e);
	uint32_t nlink =
	        e->number == SPILL_NO_LINK ? 1 : link_table_count(m->plan->links, e->number);
	if (S_ISLNK(i->mode))
		return inode_write(m, i, flat_layout(i), (uint32_t)m->first_block + i->data, nlink,
		                   xattrs, error) &&
		       last_write(m, i, spill_entry_target(e), i->size, error);
	if (!S_ISREG(i->mode) || i->size == 0)
		return inode_write(m, i, EROFS_FLAT_PLAIN, i->data, nlink, xattrs, error);
	return inode_write(m, i, EROFS_CHUNK_BASED, i->data, nlink, xattrs, error) &&
	       runs_write(m, e, error) && extents_write(m, e, error);
}

static bool spill_write(struct image *m, GError **error)
{
	const struct spill_directory *d = NULL;
	while ((d = spill_next(m->plan->spill, d)) != NULL) {
		const struct spill_entry *e = NULL;
		if (!directory_write(m, d, error))
			return false;
		while ((e = spill_entry_next(d, e)) != NULL)
			if (e->kind == SPILL_NODE && !node_write(m, e, error))
				return false;
	}
	return writer_to(&m->inodes, m->first_block * EROFS_BLOCK, error) &&
	       writer_flush(&m->inodes, error) && writer_flush(&m->blocks, error) &&
	       writer_flush(&m->extents, error);
}

bool image_write(const struct plan *p, const struct index_tail *t, int fd, GError **error)
{
	struct image m = {.plan = p,
	                  .first_block = index_round(p->meta_end, EROFS_BLOCK) / EROFS_BLOCK};
	writer_open(&m.inodes, fd, EROFS_BLOCK);
	writer_open(&m.blocks, fd, m.first_block * EROFS_BLOCK);
	writer_open(&m.extents, fd, t->extents);
	bool ok = spill_write(&m, error) && super_write(&m, t, fd, error);
	writer_close(&m.inodes);
	writer_close(&m.blocks);
	writer_close(&m.extents);
	return ok;
}
