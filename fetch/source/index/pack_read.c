/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/index/pack_read.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>
#include "fetch/index/frame.h"

#define PACK_PREFIX INDEX_FOLDER "/packs/"

struct pack_read {
	struct source_read in;     /* first; of the object */
	struct source_proof proof; /* of the object's blocks */
	struct edition *edition;   /* lives as long as the source */
	struct source *inner;      /* borrowed */
	struct pack_range range;
	struct source_read *outer;
	void (*ended)(void *user, const GError *error);
	void *user;
	uint32_t first, last;     /* frames that are needed */
	uint32_t next;            /* the one that is being received */
	struct index_frame frame; /* that one */
	uint64_t from, end;       /* of the content, what is delivered */
	uint8_t *stored;          /* owned; the bytes of the frame so far */
	size_t used;
	uint8_t *content; /* owned */
	GError *error;    /* owned; why the read was ended */
};

/* ---- what is where ---- */

bool pack_path_is(const char *path)
{
	return g_str_has_prefix(path, PACK_PREFIX);
}

static char *object_path(const struct index_pack *p)
{
	g_autofree char *id = digest_text(&p->id);
	return g_strconcat(OBJECT_FOLDER "/", id, NULL);
}

static source_version version_of(const struct index_pack *p)
{
	source_version v = XXH3_64bits(&p->id, sizeof(p->id));
	return v != 0 ? v : 1;
}

static bool pack_named(struct edition *e, const char *path, bool *found, struct pack_range *out,
                       GError **error)
{
	struct digest id;
	struct pack_range r = {.whole = true};
	GError *wrong = NULL;
	const char *name = path + strlen(PACK_PREFIX);
	if (strlen(name) != 2 * DIGEST_SIZE || !digest_parse(name, &id))
		return true;
	if (!index_pack_find(e->index, &id, &r.pack, &wrong)) {
		if (wrong == NULL)
			return true;
		g_propagate_error(error, wrong);
		return false;
	}
	r.version = version_of(&r.pack);
	r.size = r.pack.content;
	*out = r;
	*found = true;
	return true;
}

bool pack_range_of(struct edition *e, const char *path, bool *found, struct pack_range *out,
                   GError **error)
{
	struct index_node node;
	struct pack_range r = {0};
	*found = false;
	if (pack_path_is(path))
		return pack_named(e, path, found, out, error);
	if (!index_find(e->index, path, &node, error) ||
	    !index_packed(e->index, &node, found, &r.pack, &r.base, error) ||
	    (*found && !edition_version(e, &node, &r.version, error)))
		return false;
	r.size = node.size;
	if (*found)
		*out = r;
	return true;
}

bool pack_of(struct edition *e, const char *path, uint64_t size, struct source_packed *out)
{
	struct pack_range r;
	bool found;
	g_autoptr(GError) error = NULL; /* a read by the path itself will tell */
	if (!pack_range_of(e, path, &found, &r, &error) || !found || r.whole || r.size != size)
		return false;
	g_autofree char *id = digest_text(&r.pack.id);
	struct source_packed p = {
	        .size = r.pack.content,
	        .version = version_of(&r.pack),
	        .offset = r.base,
	        .file = r.version,
	};
	g_snprintf(p.path, sizeof(p.path), PACK_PREFIX "%s", id);
	*out = p;
	return true;
}

/* ---- the object's blocks ---- */

static struct pack_read *read_of(const struct source_proof *p)
{
	return (struct pack_read *)((char *)(uintptr_t)p - offsetof(struct pack_read, proof));
}

static source_version block_version(const struct source_proof *p, const char *path, uint64_t size,
                                    GError **error)
{
	return version_of(&read_of(p)->range.pack);
}

static bool block_check(const struct source_proof *p, const char *path, uint64_t offset,
                        const void *data, size_t length, GError **error)
{
	struct pack_read *r = read_of(p);
	struct digest expected, found;
	if (offset >= r->range.pack.size ||
	    length != MIN(DIGEST_BLOCK, r->range.pack.size - offset)) {
		g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL, "another size than the index has");
		return false;
	}
	if (!index_pack_block(r->edition->index, &r->range.pack, offset / DIGEST_BLOCK, &expected,
	                      error))
		return false;
	digest_of(data, length, &found);
	if (digest_equal(&expected, &found))
		return true;
	g_autofree char *expects = digest_text(&expected), *is = digest_text(&found);
	g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL, "expected sha256:%s, found sha256:%s",
	            expects, is);
	return false;
}

/* ---- frames ---- */

static int refuse(struct pack_read *r)
{
	g_autofree char *name = source_describe(r->inner, r->in.base.path);
	g_prefix_error(&r->error, "%s: frame %u: ", name, r->next);
	return -EIO;
}

static bool frame_begin(struct pack_read *r)
{
	r->used = 0;
	return index_pack_frame(r->edition->index, &r->range.pack, r->next, &r->frame, &r->error);
}

/* Delivers what the reader wants of the frame's content, and of the zeros up to the next one. */
static int frame_deliver(struct pack_read *r)
{
	uint64_t at = (uint64_t)r->next * FRAME_SIZE, end = at + FRAME_SIZE;
	if (!frame_unpack(r->frame.codec, r->stored, r->frame.stored, r->content, r->frame.size,
	                  &r->error))
		return refuse(r);
	memset(r->content + r->frame.size, 0, FRAME_SIZE - r->frame.size);
	uint64_t from = MAX(at, r->from);
	end = MIN(end, r->end);
	if (from >= end)
		return 0;
	return r->outer->data(r->outer, from - r->range.base, r->content + (from - at), end - from);
}

static int object_begin(struct source_read *in)
{
	struct pack_read *r = (struct pack_read *)in;
	struct source_read *outer = r->outer;
	outer->version = r->range.version;
	if (outer->pinned != 0 && outer->pinned != outer->version) {
		g_set_error(&r->error, FETCH_ERROR, FETCH_CHANGED,
		            "/%s: the index has another version than the cached one",
		            outer->base.path);
		return -EIO;
	}
	outer->offset = r->from - r->range.base;
	outer->length = r->end - r->from;
	return outer->begin(outer);
}

static int object_data(struct source_read *in, uint64_t offset, const void *buffer, size_t length)
{
	struct pack_read *r = (struct pack_read *)in;
	const uint8_t *data = buffer;
	int err = 0;
	while (err == 0 && length > 0 && r->next <= r->last) {
		uint64_t wanted = r->frame.offset + r->used;
		size_t skip = wanted > offset ? (size_t)MIN(length, wanted - offset) : 0;
		size_t n = MIN(length - skip, r->frame.stored - r->used);
		if (wanted < offset) {
			g_set_error(&r->error, FETCH_ERROR, FETCH_PROTOCOL,
			            "its bytes are before those of the frame before it");
			return refuse(r);
		}
		memcpy(r->stored + r->used, data + skip, n);
		r->used += n;
		offset += skip + n;
		data += skip + n;
		length -= skip + n;
		if (r->used < r->frame.stored)
			break;
		err = frame_deliver(r);
		if (err == 0 && ++r->next <= r->last && !frame_begin(r))
			err = refuse(r);
	}
	return err;
}

static void object_done(struct source_request *base, const GError *error)
{
	struct pack_read *r = (struct pack_read *)base;
	g_autoptr(GError) own = g_steal_pointer(&r->error);
	__atomic_store_n(&r->outer->base.retry_ns, base->retry_ns, __ATOMIC_RELAXED);
	if (own == NULL && g_error_matches(error, FETCH_ERROR, FETCH_MISSING)) {
		/* the index without its object is no missing file */
		own = g_error_copy(error);
		own->code = FETCH_PROTOCOL;
	} else if (own == NULL && error == NULL && r->next <= r->last) {
		own = g_error_new(FETCH_ERROR, FETCH_PROTOCOL, "/%s: frame %u: cut short",
		                  base->path, r->next);
	}
	void (*ended)(void *user, const GError *error) = r->ended;
	void *user = r->user;
	g_free(r->in.base.path);
	g_free(r->stored);
	g_free(r->content);
	g_free(r);
	ended(user, own != NULL ? own : error);
}

/* Which frames, and of the object which bytes. */
static bool range_find(struct pack_read *r, GError **error)
{
	struct index_frame last;
	const struct source_read *outer = r->outer;
	uint64_t from = r->range.base + outer->offset;
	uint64_t end = r->range.base + MIN(outer->offset + outer->length, r->range.size);
	r->first = r->next = (uint32_t)(from / FRAME_SIZE);
	r->last = (uint32_t)((end - 1) / FRAME_SIZE);
	r->from = r->range.whole ? r->first * FRAME_SIZE : from;
	r->end = r->range.whole ? MIN((r->last + 1) * FRAME_SIZE, r->range.size) : end;
	if (!index_pack_frame(r->edition->index, &r->range.pack, r->first, &r->frame, error) ||
	    !index_pack_frame(r->edition->index, &r->range.pack, r->last, &last, error))
		return false;
	r->in.offset = r->frame.offset;
	r->in.length = last.offset + last.stored - r->frame.offset;
	if (last.offset >= r->frame.offset)
		return true;
	g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL, "/%s: frames that are not in their order",
	            outer->base.path);
	return false;
}

void pack_read(struct edition *e, struct source *inner, const struct pack_range *range,
               struct source_read *outer, void (*ended)(void *user, const GError *error),
               void *user)
{
	struct pack_read *r = g_new0(struct pack_read, 1);
	g_autoptr(GError) error = NULL;
	r->edition = e;
	r->inner = inner;
	r->range = *range;
	r->outer = outer;
	r->ended = ended;
	r->user = user;
	if (outer->size != range->size)
		g_set_error(&error, FETCH_ERROR, FETCH_CHANGED,
		            "/%s: the index has another size than was listed", outer->base.path);
	if (error != NULL || !range_find(r, &error)) {
		g_free(r);
		ended(user, error);
		return;
	}
	r->proof = (struct source_proof){.version = block_version, .check = block_check};
	r->in.base =
	        (struct source_request){.path = object_path(&range->pack), .done = object_done};
	r->in.size = range->pack.size;
	r->in.cause = outer->cause;
	r->in.proof = e->verifies ? &r->proof : NULL;
	r->in.begin = object_begin;
	r->in.data = object_data;
	r->stored = g_malloc(FRAME_SIZE);
	r->content = g_malloc(FRAME_SIZE);
	source_read(inner, &r->in);
}

/* ---- attributes ---- */

struct pack_stat {
	struct source_stat in; /* first; of the object */
	struct pack_range range;
	struct source_stat *outer;
	void (*ended)(void *user, const GError *error);
	void *user;
};

static void stat_done(struct source_request *base, const GError *error)
{
	g_autofree struct pack_stat *t = (struct pack_stat *)base;
	g_autofree char *path = base->path;
	g_autoptr(GError) wrong = error != NULL ? g_error_copy(error) : NULL;
	/* the index without its object is no missing file */
	if (g_error_matches(wrong, FETCH_ERROR, FETCH_MISSING))
		wrong->code = FETCH_PROTOCOL;
	if (wrong == NULL && t->in.size != t->range.pack.size)
		g_set_error(&wrong, FETCH_ERROR, FETCH_PROTOCOL,
		            "/%s: another size than the index has", path);
	t->outer->size = t->range.size;
	t->outer->version = t->range.version;
	t->outer->mtime_known = false;
	t->ended(t->user, wrong);
}

bool pack_stat(struct edition *e, struct source *inner, struct source_stat *outer,
               void (*ended)(void *user, const GError *error), void *user, GError **error)
{
	struct pack_range range;
	bool found;
	if (!pack_range_of(e, outer->base.path, &found, &range, error))
		return false;
	if (!found) {
		g_set_error(error, FETCH_ERROR, FETCH_MISSING, "/%s: not in the index",
		            outer->base.path);
		return false;
	}
	struct pack_stat *t = g_new0(struct pack_stat, 1);
	t->range = range;
	t->outer = outer;
	t->ended = ended;
	t->user = user;
	t->in = (struct source_stat){.base = {.path = object_path(&range.pack), .done = stat_done},
	                             .listed = range.pack.size};
	source_stat(inner, &t->in);
	return true;
}
