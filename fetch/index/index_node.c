/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Inodes, and the flat data of directories and symlinks. */
#include <string.h>
#include <sys/stat.h>
#include "fetch/index/index_private.h"

#define TARGET_MAX 4095u
#define NID_FIRST (EROFS_BLOCK >> EROFS_NID_SHIFT)

/* As EROFS has it: 8 bits of the minor, 12 of the major, 12 of the minor. */
static uint32_t device_decode(uint32_t d)
{
	return ((d >> 8) & 0xfff) << 20 | (d & 0xff) | ((d >> 12) & 0xfff00);
}

static int64_t time_decode(const struct erofs_inode *i)
{
	int64_t ns;
	int64_t seconds = (int64_t)le64toh(i->seconds);
	if (__builtin_mul_overflow(seconds, INT64_C(1000000000), &ns) ||
	    __builtin_add_overflow(ns, (int64_t)le32toh(i->nanoseconds), &ns))
		return seconds < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

static bool layout_fits(const struct index_node *n)
{
	switch (n->mode & S_IFMT) {
	case S_IFREG:
		return n->layout == EROFS_CHUNK_BASED ||
		       (n->layout == EROFS_FLAT_PLAIN && n->size == 0);
	case S_IFDIR:
	case S_IFLNK:
		return n->layout == EROFS_FLAT_PLAIN || n->layout == EROFS_FLAT_INLINE;
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return n->layout == EROFS_FLAT_PLAIN;
	default:
		return false;
	}
}

bool index_node(struct index *x, uint64_t nid, struct index_node *out, GError **error)
{
	INDEX_USE(x);
	if (nid < NID_FIRST || nid >= INDEX_SIZE_MAX >> EROFS_NID_SHIFT)
		return index_refuse(x, nid, error, "outside of the image");
	const struct erofs_inode *i = index_image_at(x, nid << EROFS_NID_SHIFT, sizeof(*i), error);
	if (i == NULL)
		return false;
	uint32_t format = le16toh(i->format), xattrs = le16toh(i->xattr_count);
	struct index_node n = {
	        .nid = nid,
	        .mode = le16toh(i->mode),
	        .uid = le32toh(i->uid),
	        .gid = le32toh(i->gid),
	        .nlink = le32toh(i->nlink),
	        .identity = le32toh(i->ino),
	        .size = le64toh(i->size),
	        .mtime_ns = time_decode(i),
	        .layout = format >> 1,
	        .data = le32toh(i->data),
	        .xattr_size = xattrs ? 12 + 4 * (xattrs - 1) : 0,
	};
	if ((format & EROFS_FORMAT_EXTENDED) == 0 || !layout_fits(&n))
		return index_refuse(x, nid, error, "an unknown format or type");
	if (n.size > INT64_MAX || n.nlink == 0 || le32toh(i->nanoseconds) >= 1000000000)
		return index_refuse(x, nid, error, "an impossible size, time or number of links");
	if (S_ISLNK(n.mode) && (n.size == 0 || n.size > TARGET_MAX))
		return index_refuse(x, nid, error, "an impossible length of a link's target");
	if (S_ISCHR(n.mode) || S_ISBLK(n.mode))
		n.rdev = device_decode(n.data);
	if (!S_ISREG(n.mode) && !S_ISDIR(n.mode) && !S_ISLNK(n.mode))
		n.size = 0;
	*out = n;
	return true;
}

bool index_top(struct index *x, struct index_node *out, GError **error)
{
	INDEX_USE(x);
	struct index_node top;
	if (!index_node(x, x->root_nid, &top, error))
		return false;
	if (!S_ISDIR(top.mode))
		return index_refuse(x, top.nid, error, "the root is not a directory");
	*out = top;
	return true;
}

const void *index_flat(struct index *x, const struct index_node *node, uint64_t n, size_t *length,
                       GError **error)
{
	uint64_t last = (node->size - 1) / EROFS_BLOCK;
	uint64_t here = n < last ? EROFS_BLOCK : node->size - last * EROFS_BLOCK;
	uint64_t at = ((uint64_t)node->data + n) * EROFS_BLOCK;
	if (node->layout == EROFS_FLAT_INLINE && n == last)
		at = (node->nid << EROFS_NID_SHIFT) + sizeof(struct erofs_inode) + node->xattr_size;
	const void *data = index_image_at(x, at, here, error);
	if (data != NULL)
		*length = (size_t)here;
	return data;
}

char *index_target(struct index *x, const struct index_node *link, GError **error)
{
	INDEX_USE(x);
	size_t length;
	const char *data = index_flat(x, link, 0, &length, error);
	if (data == NULL)
		return NULL;
	if (memchr(data, '\0', length) != NULL) {
		index_refuse(x, link->nid, error, "a NUL in a link's target");
		return NULL;
	}
	return g_strndup(data, length);
}
