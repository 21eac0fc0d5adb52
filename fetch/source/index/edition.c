/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/index/edition.h"
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

G_STATIC_ASSERT(PROOF_BLOCK == DIGEST_BLOCK);

static struct edition *edition_of(const struct source_proof *p)
{
	return (struct edition *)(uintptr_t)p;
}

bool edition_version(struct edition *e, const struct index_node *node, source_version *out,
                     GError **error)
{
	unsigned slot = (unsigned)(node->nid % EDITION_VERSIONS);
	mutex_lock(&e->lock);
	source_version known = e->versions[slot].nid == node->nid ? e->versions[slot].version : 0;
	mutex_unlock(&e->lock);
	if (known == 0) {
		if (!index_version(e->index, node, &known, error))
			return false;
		mutex_lock(&e->lock);
		e->versions[slot].nid = node->nid;
		e->versions[slot].version = known;
		mutex_unlock(&e->lock);
	}
	*out = known;
	return true;
}

bool edition_listed(const struct edition *e, const char *validator)
{
	return validator != NULL && *validator == 'O' &&
	       g_ascii_strtoull(validator + 1, NULL, 16) == e->shape;
}

static source_version proof_version(const struct source_proof *p, const char *path, uint64_t size,
                                    GError **error)
{
	struct edition *e = edition_of(p);
	struct index_node node;
	source_version version;
	if (!index_find(e->index, path, &node, error))
		return 0;
	if (!S_ISREG(node.mode) || node.size != size) {
		g_set_error(error, FETCH_ERROR, FETCH_CHANGED,
		            "the index has another size than was listed");
		return 0;
	}
	return edition_version(e, &node, &version, error) ? version : 0;
}

static bool is_zeros(const uint8_t *data, size_t length)
{
	return length == 0 || (data[0] == 0 && memcmp(data, data + 1, length - 1) == 0);
}

static bool proof_check(const struct source_proof *p, const char *path, uint64_t offset,
                        const void *data, size_t length, GError **error)
{
	struct edition *e = edition_of(p);
	struct index_node node;
	struct digest expected, found;
	bool hole;
	if (!index_find(e->index, path, &node, error))
		return false;
	if (!S_ISREG(node.mode) || offset >= node.size ||
	    length != MIN(DIGEST_BLOCK, node.size - offset)) {
		g_set_error(error, FETCH_ERROR, FETCH_CHANGED,
		            "the index has another size than was listed");
		return false;
	}
	if (!index_block(e->index, &node, offset, &hole, &expected, error))
		return false;
	if (hole && is_zeros(data, length))
		return true;
	digest_of(data, length, &found);
	if (!hole && digest_equal(&expected, &found))
		return true;
	g_autofree char *expects = hole ? NULL : digest_text(&expected);
	g_autofree char *is = digest_text(&found);
	g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL, "expected %s%s, found sha256:%s",
	            expects != NULL ? "sha256:" : "zeros (a hole)", expects != NULL ? expects : "",
	            is);
	return false;
}

struct edition *edition_new(struct index *index, const struct head *head, const struct digest *key,
                            const struct source_options *o)
{
	uint32_t made_with[3] = {o->own, o->own ? o->uid : 0, o->own ? o->gid : 0};
	uint64_t seed = XXH3_64bits(index_root(index), sizeof(struct digest));
	struct edition *e = g_new0(struct edition, 1);
	e->proof.version = proof_version;
	e->proof.check = proof_check;
	e->index = index;
	e->head = *head;
	if (key != NULL)
		e->key = *key;
	e->shape = XXH3_64bits_withSeed(made_with, sizeof(made_with), seed);
	e->shape += e->shape == 0;
	e->own = o->own;
	e->uid = o->uid;
	e->gid = o->gid;
	e->verifies = !o->no_verify;
	mutex_init(&e->lock, RANK_EDITION);
	return e;
}

void edition_free(struct edition *e)
{
	if (e == NULL)
		return;
	index_unref(e->index);
	mutex_destroy(&e->lock);
	g_free(e);
}
