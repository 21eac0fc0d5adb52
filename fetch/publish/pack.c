/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/pack.h"
#include <endian.h>
#include <string.h>
#include "fetch/index/frame.h"
#include "fetch/publish/writer.h"

struct pack_maker {
	const struct packs *packs;
	struct frame_packer *packer; /* owned */
	uint8_t *content;            /* owned; of a frame */
	uint8_t *object;             /* owned */
	size_t size;                 /* of the object so far */
};

/* In which frame is it? */
static uint32_t frame_of(const struct spill_entry *e)
{
	return e->kind == SPILL_NODE && e->runs == 1 ? spill_entry_runs(e)->frame
	                                             : INDEX_FRAME_NONE;
}

/* The next file that is in a frame. */
static bool file_next(const struct plan *p, struct pack_job *j)
{
	for (;;) {
		if (j->directory != NULL)
			j->entry = spill_entry_next(j->directory, j->entry);
		if (j->entry == NULL) {
			j->directory = spill_next(p->spill, j->directory);
			if (j->directory == NULL)
				return false;
			continue;
		}
		if (frame_of(j->entry) != INDEX_FRAME_NONE)
			return true;
	}
}

bool pack_next(const struct packs *k, struct pack_job *job)
{
	bool first = job->directory == NULL;
	while (file_next(k->plan, job)) {
		uint32_t object = frame_of(job->entry) / OBJECT_FRAMES;
		if (first || object != job->object) {
			job->object = object;
			return true;
		}
	}
	return false;
}

struct pack_maker *pack_maker_new(const struct packs *k)
{
	struct pack_maker *m = g_new0(struct pack_maker, 1);
	m->packs = k;
	m->packer = frame_packer_new();
	m->content = g_malloc(FRAME_SIZE);
	m->object = g_malloc(OBJECT_FRAMES * FRAME_SIZE);
	return m;
}

void pack_maker_free(struct pack_maker *m)
{
	if (m == NULL)
		return;
	frame_packer_free(m->packer);
	g_free(m->content);
	g_free(m->object);
	g_free(m);
}

/* Reads a file into the frame's content. */
static bool file_add(struct pack_maker *m, struct reader *r, const struct pack_job *j,
                     GError **error)
{
	const struct packs *k = m->packs;
	const struct spill_run *run = spill_entry_runs(j->entry);
	struct digest out[PACK_FILE_MAX / DIGEST_BLOCK], before[PACK_FILE_MAX / DIGEST_BLOCK];
	uint8_t *data = m->content + run->place;
	unsigned count = 0;
	if (!reader_get(r, j->directory, j->entry, 0, run->length, data, error))
		return false;
	for (uint64_t at = 0; at < run->length; at += DIGEST_BLOCK)
		digest_of(data + at, MIN(DIGEST_BLOCK, run->length - at), &out[count++]);
	g_autofree char *path = k->reuse != NULL ? reader_path(j->directory, j->entry) : NULL;
	if (path != NULL && reuse_digests(k->reuse, path, &j->entry->inode, 0, run->length, before))
		__atomic_add_fetch(k->odd, memcmp(out, before, count * DIGEST_SIZE) != 0,
		                   __ATOMIC_RELAXED);
	__atomic_add_fetch(k->bytes, run->length, __ATOMIC_RELAXED);
	__atomic_add_fetch(k->files, 1, __ATOMIC_RELAXED);
	return writer_put(k->fd, k->tail->digests + (uint64_t)run->digest * DIGEST_SIZE, out,
	                  count * DIGEST_SIZE, error);
}

static bool frame_end(struct pack_maker *m, uint32_t frame, size_t used, GError **error)
{
	const struct packs *k = m->packs;
	enum frame_codec codec;
	size_t stored = frame_pack(m->packer, m->content, used, m->object + m->size, &codec);
	const struct index_frame row = {
	        .offset = htole64(m->size),
	        .stored = htole32((uint32_t)stored),
	        .size = htole32((uint32_t)used),
	        .codec = htole32(codec),
	        .object = htole32(frame / OBJECT_FRAMES),
	};
	m->size += stored;
	return writer_put(k->fd, k->tail->frames + (uint64_t)frame * sizeof(row), &row, sizeof(row),
	                  error);
}

static bool object_end(struct pack_maker *m, uint32_t object, uint32_t frames, GError **error)
{
	const struct packs *k = m->packs;
	uint64_t first = k->plan->digests + (uint64_t)object * OBJECT_DIGESTS;
	struct digest id, out[OBJECT_DIGESTS];
	unsigned count = 0;
	digest_of(m->object, m->size, &id);
	for (size_t at = 0; at < m->size; at += DIGEST_BLOCK)
		digest_of(m->object + at, MIN(DIGEST_BLOCK, m->size - at), &out[count++]);
	struct index_object row = {
	        .size = htole64(m->size),
	        .frame = htole32(object * OBJECT_FRAMES),
	        .frames = htole32(frames),
	        .digest = htole32((uint32_t)first),
	};
	memcpy(row.id, id.bytes, DIGEST_SIZE);
	return objects_put(k->objects, &id, m->object, m->size, error) &&
	       writer_put(k->fd, k->tail->digests + first * DIGEST_SIZE, out, count * DIGEST_SIZE,
	                  error) &&
	       writer_put(k->fd, k->tail->objects + (uint64_t)object * sizeof(row), &row,
	                  sizeof(row), error);
}

bool pack_make(struct pack_maker *m, struct reader *r, const struct pack_job *job, GError **error)
{
	struct pack_job j = *job;
	uint32_t frame = frame_of(j.entry), frames = 1;
	size_t used = 0;
	bool more = true;
	m->size = 0;
	while (more) {
		if (frame_of(j.entry) != frame) {
			if (!frame_end(m, frame, used, error))
				return false;
			frame = frame_of(j.entry);
			frames++;
		}
		if (!file_add(m, r, &j, error))
			return false;
		used = spill_entry_runs(j.entry)->place + spill_entry_runs(j.entry)->length;
		more = file_next(m->packs->plan, &j) &&
		       frame_of(j.entry) / OBJECT_FRAMES == job->object;
	}
	return frame_end(m, frame, used, error) && object_end(m, job->object, frames, error);
}
