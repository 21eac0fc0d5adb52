/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Objects and frames. */
#include <string.h>
#include "fetch/index/index_private.h"

static bool refuse(const struct index *x, uint32_t number, GError **error, const char *what)
{
	g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL, "%s: object %u: %s", x->name, number, what);
	return false;
}

static const struct index_object *object_at(struct index *x, uint32_t number, GError **error)
{
	if (number >= x->tail.object_count) {
		refuse(x, number, error, "not in the index");
		return NULL;
	}
	return index_at(x, x->tail.objects + (uint64_t)number * sizeof(struct index_object),
	                sizeof(struct index_object), error);
}

static const struct index_frame *frame_at(struct index *x, uint32_t number, GError **error)
{
	if (number >= x->tail.frame_count) {
		g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL, "%s: frame %u: not in the index",
		            x->name, number);
		return NULL;
	}
	return index_at(x, x->tail.frames + (uint64_t)number * sizeof(struct index_frame),
	                sizeof(struct index_frame), error);
}

bool index_pack_frame(struct index *x, const struct index_pack *p, uint32_t n,
                      struct index_frame *out, GError **error)
{
	INDEX_USE(x);
	const struct index_frame *f = frame_at(x, p->frame + n, error);
	if (f == NULL)
		return false;
	const struct index_frame frame = {
	        .offset = le64toh(f->offset),
	        .stored = le32toh(f->stored),
	        .size = le32toh(f->size),
	        .codec = le32toh(f->codec),
	        .object = le32toh(f->object),
	};
	if (n >= p->frames || frame.object != p->number || frame.stored == 0 ||
	    frame.stored > frame.size || frame.size > FRAME_SIZE || frame.offset > p->size ||
	    frame.stored > p->size - frame.offset)
		return refuse(x, p->number, error, "a frame that is not the object's");
	*out = frame;
	return true;
}

bool index_pack(struct index *x, uint32_t number, struct index_pack *out, GError **error)
{
	INDEX_USE(x);
	const struct index_object *o = object_at(x, number, error);
	struct index_frame last;
	if (o == NULL)
		return false;
	struct index_pack p = {
	        .number = number,
	        .size = le64toh(o->size),
	        .frame = le32toh(o->frame),
	        .frames = le32toh(o->frames),
	        .digest = le32toh(o->digest),
	};
	memcpy(p.id.bytes, o->id, DIGEST_SIZE);
	if (p.size == 0 || p.size > OBJECT_FRAMES * FRAME_SIZE || p.frames == 0 ||
	    p.frames > OBJECT_FRAMES || p.frame >= x->tail.frame_count ||
	    p.frames > x->tail.frame_count - p.frame || p.digest >= x->tail.digest_count ||
	    (p.size - 1) / DIGEST_BLOCK >= x->tail.digest_count - p.digest)
		return refuse(x, number, error, "frames or digests that are not in the index");
	if (!index_pack_frame(x, &p, p.frames - 1, &last, error))
		return false;
	p.content = (p.frames - 1) * FRAME_SIZE + last.size;
	*out = p;
	return true;
}

bool index_pack_find(struct index *x, const struct digest *id, struct index_pack *out,
                     GError **error)
{
	INDEX_USE(x);
	for (uint32_t n = 0; n < x->tail.object_count; n++) {
		const struct index_object *o = object_at(x, n, error);
		if (o == NULL)
			return false;
		if (memcmp(o->id, id->bytes, DIGEST_SIZE) == 0)
			return index_pack(x, n, out, error);
	}
	return false;
}

bool index_pack_block(struct index *x, const struct index_pack *p, uint64_t n, struct digest *out,
                      GError **error)
{
	INDEX_USE(x);
	g_assert(n <= (p->size - 1) / DIGEST_BLOCK);
	const struct digest *d =
	        index_at(x, x->tail.digests + (p->digest + n) * DIGEST_SIZE, DIGEST_SIZE, error);
	if (d != NULL)
		*out = *d;
	return d != NULL;
}

bool index_frame_owner(struct index *x, uint32_t number, struct index_pack *out, GError **error)
{
	INDEX_USE(x);
	const struct index_frame *f = frame_at(x, number, error);
	struct index_pack p;
	if (f == NULL || !index_pack(x, le32toh(f->object), &p, error))
		return false;
	if (number < p.frame || number - p.frame >= p.frames)
		return refuse(x, p.number, error, "it does not have a frame that names it");
	*out = p;
	return true;
}
