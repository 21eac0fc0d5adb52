/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The file of an index, and its leaves. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/index/index_private.h"

#define LOADED_MAX ((32 << 20) / DIGEST_BLOCK)

static bool refuse(const struct index *x, GError **error, const char *what)
{
	g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL, "%s: %s", x->name, what);
	return false;
}

bool index_refuse(const struct index *x, uint64_t nid, GError **error, const char *what)
{
	g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL, "%s: inode %" G_GUINT64_FORMAT ": %s",
	            x->name, nid, what);
	return false;
}

static bool read_at(const struct index *x, uint64_t offset, void *out, uint64_t length,
                    GError **error)
{
	while (length > 0) {
		ssize_t n = pread(x->fd, out, length, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			return refuse(x, error, "cut short since it was opened");
		if (n < 0) {
			g_set_error(error, LOCAL_ERROR, errno, "%s: %s", x->name,
			            g_strerror(errno));
			return false;
		}
		out = (uint8_t *)out + n;
		offset += (uint64_t)n;
		length -= (uint64_t)n;
	}
	return true;
}

static uint64_t piece_size(const struct index *x, uint64_t piece)
{
	return MIN(DIGEST_BLOCK, x->tail.leaves - piece * DIGEST_BLOCK);
}

/* Reads a piece, and compares it with its leaf. */
static bool piece_read(const struct index *x, uint64_t piece, uint8_t *out, GError **error)
{
	uint64_t from = piece * DIGEST_BLOCK;
	struct digest found;
	if (!read_at(x, from, out, piece_size(x, piece), error))
		return false;
	digest_of(out, piece_size(x, piece), &found);
	const struct digest *leaf = (const struct digest *)(x->map + x->tail.leaves) + piece;
	if (!digest_equal(&found, leaf)) {
		g_autofree char *expects = digest_text(leaf), *is = digest_text(&found);
		g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL,
		            "%s: damaged from byte %" G_GUINT64_FORMAT
		            " on: expected sha256:%s, found sha256:%s",
		            x->name, from, expects, is);
		return false;
	}
	return true;
}

static bool piece_load(struct index *x, uint64_t piece, GError **error)
{
	uint32_t bit = UINT32_C(1) << (piece % 32), *word = &x->checked[piece / 32];
	if ((__atomic_load_n(word, __ATOMIC_ACQUIRE) & bit) != 0)
		return true;
	g_autofree uint8_t *data = g_malloc(DIGEST_BLOCK);
	if (!piece_read(x, piece, data, error))
		return false;
	mutex_lock(&x->lock);
	if ((*word & bit) == 0) { /* else others read it */
		memcpy(x->map + piece * DIGEST_BLOCK, data, piece_size(x, piece));
		__atomic_fetch_or(word, bit, __ATOMIC_RELEASE);
		x->loaded++;
	}
	mutex_unlock(&x->lock);
	return true;
}

static uint64_t pieces_of(const struct index *x)
{
	return (x->tail.leaves + DIGEST_BLOCK - 1) / DIGEST_BLOCK;
}

void index_enter(struct index *x)
{
	mutex_lock(&x->lock);
	x->users++;
	mutex_unlock(&x->lock);
}

static void pieces_drop_locked(struct index *x) REQUIRES(x->lock)
{
	if (x->users > 0 || x->loaded <= x->loaded_max)
		return;
	memset(x->checked, 0, pieces_of(x) / 32 * 4 + 4);
	madvise(x->map, x->tail.leaves & ~(DIGEST_BLOCK - 1), MADV_DONTNEED);
	x->loaded = 0;
}

void index_leave(struct index *x)
{
	mutex_lock(&x->lock);
	x->users--;
	pieces_drop_locked(x);
	mutex_unlock(&x->lock);
}

void index_retire(struct index *x)
{
	mutex_lock(&x->lock);
	x->loaded_max = 0;
	pieces_drop_locked(x);
	mutex_unlock(&x->lock);
}

const void *index_at(struct index *x, uint64_t offset, uint64_t length, GError **error)
{
	if (length == 0 || offset >= x->tail.leaves || length > x->tail.leaves - offset) {
		refuse(x, error, "it refers to bytes beyond its end");
		return NULL;
	}
	for (uint64_t n = offset / DIGEST_BLOCK; n <= (offset + length - 1) / DIGEST_BLOCK; n++)
		if (!piece_load(x, n, error))
			return NULL;
	return x->map + offset;
}

const void *index_image_at(struct index *x, uint64_t offset, uint64_t length, GError **error)
{
	if (offset >= x->tail.image_size || length > x->tail.image_size - offset) {
		refuse(x, error, "it refers to bytes beyond the end of its image");
		return NULL;
	}
	return index_at(x, offset, length, error);
}

bool index_verify(struct index *x, GError **error)
{
	g_autofree uint8_t *data = g_malloc(DIGEST_BLOCK);
	for (uint64_t n = 0; n < pieces_of(x); n++)
		if (!piece_read(x, n, data, error))
			return false;
	return true;
}

static void tail_decode(struct index_tail *t)
{
	t->magic = le64toh(t->magic);
	t->version = le32toh(t->version);
	t->image_size = le64toh(t->image_size);
	t->extents = le64toh(t->extents);
	t->digests = le64toh(t->digests);
	t->leaves = le64toh(t->leaves);
	t->size = le64toh(t->size);
	t->extent_count = le32toh(t->extent_count);
	t->digest_count = le32toh(t->digest_count);
	t->files = le64toh(t->files);
	t->bytes = le64toh(t->bytes);
	t->objects = le64toh(t->objects);
	t->frames = le64toh(t->frames);
	t->object_count = le32toh(t->object_count);
	t->frame_count = le32toh(t->frame_count);
}

/* Every part begins where the one before it ends, rounded up. */
static bool tail_fits(const struct index_tail *t)
{
	const uint64_t whole = t->size;
	uint64_t pieces = (t->leaves + DIGEST_BLOCK - 1) / DIGEST_BLOCK;
	if (t->image_size > whole || t->leaves > whole || t->image_size % EROFS_BLOCK != 0 ||
	    t->image_size < 2 * EROFS_BLOCK)
		return false;
	struct index_tail fit = *t;
	index_tail_place(&fit);
	if (t->extents != fit.extents || t->objects != fit.objects || t->frames != fit.frames ||
	    t->digests != fit.digests || t->leaves != fit.leaves)
		return false;
	return t->leaves + pieces * DIGEST_SIZE + sizeof(*t) == whole;
}

static bool tail_read(struct index *x, const struct digest *root, GError **error)
{
	struct index_tail *t = &x->tail;
	uint8_t *tail = x->map + x->size - sizeof(*t);
	if (!read_at(x, x->size - sizeof(*t), tail, sizeof(*t), error))
		return false;
	memcpy(t, tail, sizeof(*t));
	tail_decode(t);
	if (t->magic != INDEX_MAGIC)
		return refuse(x, error, "not an index");
	if (t->version != INDEX_VERSION)
		return refuse(x, error,
		              "another version of the format; a newer lacunafs may know it");
	if (t->size != x->size)
		return refuse(x, error, "cut short, or longer than it says");
	if (!tail_fits(t))
		return refuse(x, error, "its parts do not fit together");
	if (!read_at(x, t->leaves, x->map + t->leaves, x->size - sizeof(*t) - t->leaves, error))
		return false;
	const struct digest_part parts[] = {
	        {x->map + t->leaves, (size_t)(x->size - sizeof(*t) - t->leaves)},
	        {tail, sizeof(*t)},
	};
	digest_of_parts(parts, 2, &x->root);
	if (root == NULL || digest_equal(root, &x->root))
		return true;
	g_autofree char *expects = digest_text(root), *is = digest_text(&x->root);
	g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL,
	            "%s: another index: expected the root sha256:%s, found sha256:%s", x->name,
	            expects, is);
	return false;
}

static bool super_read(struct index *x, GError **error)
{
	const struct erofs_super *s = index_image_at(x, EROFS_SUPER_AT, sizeof(*s), error);
	if (s == NULL)
		return false;
	if (le32toh(s->magic) != EROFS_MAGIC || s->block_bits != EROFS_BLOCK_BITS ||
	    s->dir_block_bits != 0 || le32toh(s->meta_block) != 0 || s->prefixes != 0 ||
	    le32toh(s->feature_incompat) != (EROFS_INCOMPAT_CHUNKED | EROFS_INCOMPAT_DEVICES))
		return refuse(x, error, "its image is not of the kind that an index has");
	x->root_nid = le16toh(s->root_nid);
	x->xattr_block = le32toh(s->xattr_block);
	return true;
}

static bool map_open(struct index *x, GError **error)
{
	struct stat st;
	if (fstat(x->fd, &st) < 0) {
		g_set_error(error, LOCAL_ERROR, errno, "%s: %s", x->name, g_strerror(errno));
		return false;
	}
	if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(struct index_tail) ||
	    (uint64_t)st.st_size > INDEX_SIZE_MAX)
		return refuse(x, error, "not the size of an index");
	x->size = (uint64_t)st.st_size;
	void *map = mmap(NULL, x->size, PROT_READ | PROT_WRITE,
	                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		g_set_error(error, LOCAL_ERROR, errno, "%s: %s", x->name, g_strerror(errno));
		return false;
	}
	x->map = map;
	return true;
}

struct index *index_open(int fd, const char *name, const struct digest *root, GError **error)
{
	struct index *x = g_new0(struct index, 1);
	x->refs = 1;
	x->fd = fd;
	x->name = g_strdup(name);
	x->loaded_max = LOADED_MAX;
	mutex_init(&x->lock, RANK_INDEX);
	bool ok = map_open(x, error) && tail_read(x, root, error);
	if (ok) {
		x->checked = g_new0(uint32_t, pieces_of(x) / 32 + 1); /* ≤ 128 KiB */
		ok = super_read(x, error);
	}
	if (ok)
		return x;
	index_unref(x);
	return NULL;
}

struct index *index_ref(struct index *x)
{
	__atomic_add_fetch(&x->refs, 1, __ATOMIC_RELAXED);
	return x;
}

void index_unref(struct index *x)
{
	if (x == NULL || __atomic_sub_fetch(&x->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	if (x->map != NULL)
		munmap(x->map, x->size);
	close(x->fd);
	mutex_destroy(&x->lock);
	g_free(x->checked);
	g_free(x->name);
	g_free(x);
}

const struct digest *index_root(const struct index *x)
{
	return &x->root;
}

const struct index_tail *index_tail(const struct index *x)
{
	return &x->tail;
}
