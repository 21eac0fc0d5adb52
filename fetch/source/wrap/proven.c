/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/wrap/proven.h"
#include <errno.h>
#include <string.h>

struct proven {
	struct source base;
	struct source *inner; /* owned */
};

/* A read with a proof. */
struct checked {
	struct source_read in; /* first; of the inner source */
	struct proven *proven;
	struct source_read *outer;
	uint64_t from, end; /* whole blocks that will be delivered */
	uint8_t *block;     /* owned; the beginning of a block; NULL: not needed yet */
	size_t used;        /* of it */
	GError *error;      /* owned; why the read was ended */
};

static int refuse(struct checked *c)
{
	g_autofree char *name = source_describe(c->proven->inner, c->outer->base.path);
	g_prefix_error(&c->error, "%s: ", name);
	return -EIO;
}

/* false: refused. */
static bool version_take(struct checked *c)
{
	struct source_read *outer = c->outer;
	const struct source_proof *proof = outer->proof;
	outer->version = proof->version(proof, outer->base.path, outer->size, &c->error);
	if (outer->version == 0)
		return false;
	if (outer->pinned == 0 || outer->pinned == outer->version)
		return true;
	g_set_error(&c->error, FETCH_ERROR, FETCH_CHANGED,
	            "the index has another version than the cached one");
	return false;
}

static int checked_begin(struct source_read *in)
{
	struct checked *c = (struct checked *)in;
	struct source_read *outer = c->outer;
	uint64_t end = in->offset + in->length;
	c->from = (in->offset + PROOF_BLOCK - 1) / PROOF_BLOCK * PROOF_BLOCK;
	c->end = end == in->size ? end : end / PROOF_BLOCK * PROOF_BLOCK;
	if (!version_take(c))
		return refuse(c);
	outer->offset = c->from;
	outer->length = c->end - c->from;
	return outer->begin(outer);
}

/* One whole block. */
static int block_deliver(struct checked *c, uint64_t offset, const void *data, size_t length)
{
	struct source_read *outer = c->outer;
	const struct source_proof *proof = outer->proof;
	if (proof->check(proof, outer->base.path, offset, data, length, &c->error))
		return outer->data(outer, offset, data, length);
	g_prefix_error(&c->error,
	               "block %" G_GUINT64_FORMAT " (bytes %" G_GUINT64_FORMAT
	               " to %" G_GUINT64_FORMAT "): ",
	               offset / PROOF_BLOCK, offset, offset + length - 1);
	return refuse(c);
}

static int checked_data(struct source_read *in, uint64_t offset, const void *buffer, size_t length)
{
	struct checked *c = (struct checked *)in;
	const uint8_t *data = buffer;
	int err = 0;
	if (offset < c->from) { /* the end of a block whose beginning does not come */
		size_t skipped = (size_t)MIN(length, c->from - offset);
		data += skipped;
		offset += skipped;
		length -= skipped;
	}
	while (err == 0 && length > 0 && offset < c->end) {
		uint64_t start = offset / PROOF_BLOCK * PROOF_BLOCK;
		size_t whole = (size_t)MIN(PROOF_BLOCK, c->end - start);
		size_t n = MIN(length, whole - (size_t)(offset - start));
		if (n == whole) {
			err = block_deliver(c, start, data, whole);
		} else {
			if (c->block == NULL)
				c->block = g_malloc(PROOF_BLOCK);
			memcpy(c->block + (offset - start), data, n);
			c->used = (size_t)(offset - start) + n;
			if (c->used == whole)
				err = block_deliver(c, start, c->block, whole);
		}
		data += n;
		offset += n;
		length -= n;
	}
	return err;
}

static void checked_done(struct source_request *base, const GError *error)
{
	struct checked *c = (struct checked *)base;
	struct source_request *outer = &c->outer->base;
	g_autoptr(GError) own = g_steal_pointer(&c->error);
	__atomic_store_n(&outer->retry_ns, base->retry_ns, __ATOMIC_RELAXED);
	g_free(c->block);
	g_free(c);
	outer->done(outer, own != NULL ? own : error);
}

/* ---- files that are proven as a whole ---- */

static int whole_begin(struct source_read *in)
{
	struct checked *c = (struct checked *)in;
	struct source_read *outer = c->outer;
	if (!version_take(c))
		return refuse(c);
	outer->offset = 0;
	outer->length = outer->size;
	return outer->begin(outer);
}

static int whole_data(struct source_read *in, uint64_t offset, const void *buffer, size_t length)
{
	const struct source_proof *proof = ((struct checked *)in)->outer->proof;
	return proof->put(proof, offset, buffer, length);
}

static void whole_done(struct source_request *base, const GError *error)
{
	struct checked *c = (struct checked *)base;
	struct source_read *outer = c->outer;
	g_autofree char *name = source_describe(c->proven->inner, outer->base.path);
	int err = 0;
	if (error == NULL && c->error == NULL && outer->proof->whole(outer->proof, name, &c->error))
		err = outer->data(outer, 0, NULL, outer->size);
	if (err != 0)
		g_set_error(&c->error, LOCAL_ERROR, -err, "%s: %s", name, g_strerror(-err));
	checked_done(base, error);
}

static void proven_read(struct source *s, struct source_read *req)
{
	struct proven *p = (struct proven *)s;
	if (req->proof == NULL) {
		source_pass_read(p->inner, req);
		return;
	}
	struct checked *c = g_new0(struct checked, 1);
	uint64_t end = MIN(req->offset + req->length, req->size);
	c->proven = p;
	c->outer = req;
	c->in = (struct source_read){
	        .base = {.path = req->base.path, .done = checked_done},
	        .offset = req->offset / PROOF_BLOCK * PROOF_BLOCK,
	        .size = req->size,
	        .mtime_ns = req->mtime_ns,
	        .grain = MAX(req->grain, PROOF_BLOCK),
	        .cause = req->cause,
	        .begin = checked_begin,
	        .data = checked_data,
	};
	end = MIN((end + PROOF_BLOCK - 1) / PROOF_BLOCK * PROOF_BLOCK, req->size);
	c->in.length = end - c->in.offset;
	if (req->proof->put != NULL) {
		c->in.base.done = whole_done;
		c->in.begin = whole_begin;
		c->in.data = whole_data;
		c->in.offset = MIN(req->proof->held(req->proof), req->size - 1);
		c->in.length = req->size - c->in.offset;
	}
	source_read(p->inner, &c->in);
}

static void proven_list(struct source *s, struct source_list *req)
{
	source_pass_list(((struct proven *)s)->inner, req);
}

static void proven_stat(struct source *s, struct source_stat *req)
{
	source_pass_stat(((struct proven *)s)->inner, req);
}

static void proven_stop(struct source *s)
{
	source_stop(((struct proven *)s)->inner);
}

static void proven_close(struct source *s)
{
	source_close(((struct proven *)s)->inner);
	g_free(s);
}

static char *proven_describe(struct source *s, const char *path)
{
	return source_describe(((struct proven *)s)->inner, path);
}

/* `lists` stays unset: failures count here, with those of proofs. */
static const struct source *proven_lister(const struct source *s)
{
	return ((const struct proven *)s)->inner;
}

static const struct source_ops proven_ops = {
        .name = "proven",
        .list = proven_list,
        .stat = proven_stat,
        .read = proven_read,
        .stop = proven_stop,
        .close = proven_close,
        .describe = proven_describe,
        .lister = proven_lister,
};

struct source *proven_new(struct source *inner)
{
	struct proven *p = g_new0(struct proven, 1);
	p->base = (struct source){.ops = &proven_ops,
	                          .xattrs = inner->xattrs,
	                          .dir_mode = inner->dir_mode,
	                          .file_mode = inner->file_mode,
	                          .cyclic = inner->cyclic};
	p->inner = inner;
	return &p->base;
}
