/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* An index whose leaves and root are made to fit, as by a publisher who means it: everything that
 * can be reached from its root is read, without an end only if the tree has none. What is too small
 * for an index is read as a head. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/index/head.h"
#include "fetch/index/index.h"

#define DEPTH_MAX 64u

struct visit {
	struct index *index;
	uint64_t nid;
	unsigned depth, *left; /* nodes that are still looked at */
};

static void check(bool true_or_abort)
{
	if (!true_or_abort)
		abort();
}

static void xattr_seen(void *user, const char *name, const void *value, size_t size)
{
	volatile uint8_t last = size > 0 ? ((const uint8_t *)value)[size - 1] : 0;
	(void)last;
	check(name[0] != '\0' && strlen(name) < 256);
}

static void file_read(struct index *x, const struct index_node *n)
{
	struct digest digest;
	bool hole;
	uint64_t version;
	for (unsigned i = 0; i < 8 && i * DIGEST_BLOCK < n->size; i++)
		if (index_block(x, n, i * DIGEST_BLOCK, &hole, &digest, NULL) && !hole)
			check(digest_equal(&digest, &digest));
	if (n->size < UINT64_C(1) << 32 && index_version(x, n, &version, NULL))
		check(version != 0);
	struct index_pack p;
	uint64_t offset;
	bool packed;
	if (index_packed(x, n, &packed, &p, &offset, NULL) && packed)
		check(n->size <= p.content && offset <= p.content - n->size);
}

static void packs_read(struct index *x)
{
	struct index_pack p;
	struct index_frame f;
	struct digest digest;
	for (uint32_t n = 0; n < 16; n++) {
		if (!index_pack(x, n, &p, NULL))
			continue;
		check(p.size > 0 && p.frames > 0 && p.content <= OBJECT_FRAMES * FRAME_SIZE);
		for (uint32_t i = 0; i < p.frames; i++)
			if (index_pack_frame(x, &p, i, &f, NULL))
				check(f.stored > 0 && f.size <= FRAME_SIZE &&
				      f.offset + f.stored <= p.size);
		for (uint64_t i = 0; i <= (p.size - 1) / DIGEST_BLOCK; i++)
			if (index_pack_block(x, &p, i, &digest, NULL))
				check(digest_equal(&digest, &digest));
		check(!index_pack_find(x, &p.id, &p, NULL) || p.size > 0);
	}
}

static bool visit(void *user, const struct index_name *name, GError **error)
{
	struct visit *v = user;
	struct index_node n;
	check(name->length > 0 && name->length < 256 &&
	      memchr(name->name, '/', name->length) == NULL);
	if (*v->left == 0 || !index_node(v->index, name->nid, &n, NULL))
		return true;
	--*v->left;
	check(n.size <= INT64_MAX && n.nlink > 0);
	index_xattrs(v->index, &n, xattr_seen, NULL, NULL);
	if (S_ISREG(n.mode))
		file_read(v->index, &n);
	if (S_ISLNK(n.mode)) {
		g_autofree char *target = index_target(v->index, &n, NULL);
		check(target == NULL || strlen(target) == n.size);
	}
	if (S_ISDIR(n.mode)) {
		struct visit below = {v->index, n.nid, v->depth + 1, v->left};
		check(v->depth < 4096); /* no circle */
		if (v->depth < DEPTH_MAX)
			index_list(v->index, &n, v->nid, visit, &below, NULL);
	}
	return true;
}

/* Writes the leaves, as far as the tail says where they are. */
static void seal(uint8_t *data, size_t size)
{
	struct index_tail t;
	if (size < sizeof(t) + DIGEST_SIZE)
		return;
	memcpy(&t, data + size - sizeof(t), sizeof(t));
	t.size = size;
	memcpy(data + size - sizeof(t), &t, sizeof(t));
	for (uint64_t at = 0; t.leaves < size && at < t.leaves; at += DIGEST_BLOCK) {
		uint64_t leaf = t.leaves + at / DIGEST_BLOCK * DIGEST_SIZE;
		if (leaf > size - sizeof(t) - DIGEST_SIZE)
			return;
		digest_of(data + at, MIN(DIGEST_BLOCK, t.leaves - at),
		          (struct digest *)(void *)(data + leaf));
	}
}

/* One that is accepted is written as one that is the same. */
static void head_read(const uint8_t *input, size_t size)
{
	char text[HEAD_SIZE];
	struct head head, again;
	memset(text, ' ', sizeof(text));
	memcpy(text, input, MIN(size, sizeof(text)));
	if (!head_parse(text, sizeof(text), &head, NULL))
		return;
	head_format(&head, text);
	check(head_parse(text, sizeof(text), &again, NULL));
	check(digest_equal(&head.root, &again.root) && head.size == again.size &&
	      head.serial == again.serial && head.is_signed == again.is_signed &&
	      memcmp(&head.signature, &again.signature, sizeof(head.signature)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	if (size < EROFS_BLOCK) {
		head_read(input, size);
		return 0;
	}
	g_autofree uint8_t *data = g_memdup2(input, size);
	int fd = memfd_create("index", MFD_CLOEXEC);
	unsigned left = 4000;
	struct index_node top;
	check(fd >= 0);
	seal(data, size);
	check(size == 0 || write(fd, data, size) == (ssize_t)size);
	struct index *x = index_open(fd, "index", NULL, NULL);
	if (x != NULL) {
		index_verify(x, NULL);
		packs_read(x);
		struct visit v = {x, 0, 0, &left};
		if (index_top(x, &top, NULL)) {
			v.nid = top.nid;
			index_list(x, &top, top.nid, visit, &v, NULL);
			index_find(x, "a/b", &top, NULL);
		}
		index_unref(x);
	}
	return 0;
}
