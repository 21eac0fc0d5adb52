/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <string.h>
#include "fetch/fill/fill_private.h"

struct content *content_new(struct fill *f, const char *path, const char *remote,
                            const struct store_origin *origin, void *owner) UNSHARED
{
	size_t length = strlen(path) + 1;
	struct content *c = g_malloc0(sizeof *c + length);

	c->fill = f;
	c->owner = owner;
	c->origin = *origin;
	c->refs = 1;
	c->completed = origin->size == 0;
	memcpy(c->path, path, length);
	c->remote = strcmp(path, remote) == 0 ? c->path : g_strdup(remote);
	return c;
}

struct content *content_ref(struct content *c)
{
	__atomic_fetch_add(&c->refs, 1, __ATOMIC_RELAXED);
	return c;
}

bool content_try_ref(struct content *c)
{
	unsigned refs = __atomic_load_n(&c->refs, __ATOMIC_RELAXED);

	while (refs > 0)
		if (__atomic_compare_exchange_n(&c->refs, &refs, refs + 1, true, __ATOMIC_ACQUIRE,
		                                __ATOMIC_RELAXED))
			return true;
	return false;
}

void content_unref(struct content *c) UNSHARED
{
	const struct fill_options *o;

	if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	o = &c->fill->options;
	g_assert(c->transfers == NULL && c->waiters == NULL);
	if (c->file)
		store_file_close(c->file);
	if (c->owner == NULL)
		packed_released(c);
	else if (o->released)
		o->released(o->user, c, c->owner);
	if (c->pack)
		content_unref(c->pack);
	g_free(c->failure);
	if (c->remote != c->path)
		g_free(c->remote);
	g_free(c);
}

void *content_owner(const struct content *c)
{
	return c->owner;
}

struct store_file *content_file(struct content *c)
{
	return __atomic_load_n(&c->file, __ATOMIC_ACQUIRE);
}

int content_fd(struct content *c)
{
	struct store_file *file = content_file(c);

	return file ? store_file_fd(file) : -1;
}

uint64_t content_size(const struct content *c)
{
	struct store_file *file = __atomic_load_n(&c->file, __ATOMIC_ACQUIRE);

	return file ? store_file_size(file) : c->origin.size;
}

unsigned content_shift(struct content *c)
{
	struct store_file *file = content_file(c);

	return file ? store_file_chunk_shift(file) : store_chunk_shift(c->fill->store);
}

uint64_t content_chunks(struct content *c)
{
	uint64_t size = content_size(c);

	return size ? ((size - 1) >> content_shift(c)) + 1 : 0;
}

uint64_t content_chunk_end(struct content *c, uint64_t chunk)
{
	unsigned shift = content_shift(c);
	uint64_t size = content_size(c);

	/* not (chunk + 1) << shift, which overflows next to 2^64 */
	return size - (chunk << shift) > UINT64_C(1) << shift ? (chunk + 1) << shift : size;
}

void content_claim(struct content *c)
{
	struct fill *f = c->fill;

	fill_lock(f);
	while (c->opening) /* with a handle's lock, which no thread takes under a claim */
		condition_wait_above(&f->changed, &f->lock);
	c->opening = true;
	fill_unlock(f);
}

void content_yield(struct content *c)
{
	struct fill *f = c->fill;

	fill_lock(f);
	c->opening = false;
	condition_broadcast(&f->changed);
	fill_unlock(f);
}

/* A leftover of a first fetch that failed: it need not keep its version. */
static bool file_is_blank(struct store_file *file)
{
	return store_file_chunks(file) > 0 && store_file_chunks_present(file) == 0 &&
	       store_file_doubts(file) == 0;
}

char *content_local_path(struct content *c)
{
	const struct fill_options *o = &c->fill->options;

	return o->local_path && c->owner ? o->local_path(o->user, c) : g_strdup(c->path);
}

/* Opens the local file, if there is one. Removes a blank leftover and looks again: the file may be
 * found by another name. */
static int content_look(struct content *c)
{
	struct fill *f = c->fill;
	int err = -ESTALE;

	for (int n = 0; n < 3 && (err == 0 || err == -ESTALE); n++) {
		g_autofree char *path = content_local_path(c), *after = NULL;
		struct store_file *file;

		err = store_file_open(f->store, path, c->origin.ino, &file);
		after = content_local_path(c);
		if (g_strcmp0(path, after) != 0) { /* the path changed meanwhile */
			if (err == 0)
				store_file_close(file);
			err = n < 2 ? 0 : -EIO;
			continue;
		}
		if (err)
			continue;
		if (!store_file_kept(file) && file_is_blank(file)) {
			err = store_file_discard(f->store, path, file);
			continue;
		}
		fill_lock(f);
		c->completed = store_file_complete(file);
		__atomic_store_n(&c->file, file, __ATOMIC_RELEASE);
		fill_unlock(f);
		return 0;
	}
	return err == -ENOENT || err == -ESTALE ? 0 : err;
}

int content_open(struct content *c)
{
	int err = 0;

	if (content_file(c))
		return 0;
	content_claim(c);
	if (!c->looked) /* under the claim */
		err = content_look(c);
	if (err == 0 && !content_complete(c))
		packed_look(c);
	if (err == 0)
		c->looked = true;
	content_yield(c);
	return err;
}

int content_keep(struct content *c, const char *path, struct listing *l, uint32_t index)
{
	const struct store_kept kept = {
	        .remote = c->remote,
	        .listing = l,
	        .index = index,
	        .nlink = c->origin.nlink,
	        .origin = &c->origin,
	};
	struct fill *f = c->fill;
	struct store_file *file;
	int err = content_open(c);

	if (err)
		return err;
	content_claim(c);
	file = c->file;
	if (file == NULL)
		err = store_file_create(f->store, path, &c->origin, &file);
	if (err == 0)
		err = store_file_keep(file, path, &kept);
	if (err == 0) {
		fill_lock(f);
		__atomic_store_n(&c->file, file, __ATOMIC_RELEASE);
		fill_unlock(f);
	} else if (c->file == NULL && file) {
		store_file_close(file);
	}
	content_yield(c);
	return err;
}

bool content_present(struct content *c, uint64_t offset, uint64_t length)
{
	struct store_file *file = content_file(c);
	uint64_t size = content_size(c);
	unsigned shift;

	if (offset >= size || length == 0)
		return true;
	if (file == NULL) {
		struct content *pack = __atomic_load_n(&c->pack, __ATOMIC_ACQUIRE);

		return pack &&
		       content_present(pack, c->pack_offset + offset, MIN(length, size - offset));
	}
	shift = store_file_chunk_shift(file);
	length = MIN(length, size - offset);
	return store_file_present(file, offset >> shift, (offset + length - 1) >> shift);
}

bool content_complete(struct content *c)
{
	struct store_file *file = content_file(c);

	return file ? store_file_complete(file) : c->origin.size == 0;
}

bool content_lasts(struct content *c)
{
	struct store_file *file = content_file(c);

	return content_complete(c) && (file == NULL || store_file_lasts(file));
}

void content_check_complete(struct content *c)
{
	const struct fill_options *o = &c->fill->options;
	bool now;

	if (!content_complete(c))
		return;
	fill_lock(c->fill);
	now = !c->completed;
	c->completed = true;
	fill_unlock(c->fill);
	if (now && o->completed && c->owner)
		o->completed(o->user, c);
}

void content_failed(struct content *c, int error, const char *cause)
{
	size_t length = strlen(cause) + 1;
	struct failure *now = g_malloc(sizeof *now + length), *before;

	now->error = error;
	now->at_ns = clock_realtime();
	memcpy(now->cause, cause, length);
	fill_lock(c->fill);
	before = c->failure;
	c->failure = now;
	fill_unlock(c->fill);
	g_free(before);
}
