/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/error.h"
#include "fetch/base/listing_private.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

struct listing_builder {
	struct listing_entry *entries; /* in the order of the source; *_off into heap */
	char *heap;                    /* items of the entries, without gaps, in their order */
	size_t count, entries_capacity;
	size_t heap_length, heap_capacity;
	bool failed; /* too large or no memory: entries are missing */
};

struct key { /* of the index by name */
	uint64_t hash;
	uint32_t entry;
};

#define NONE UINT32_MAX

struct listing_builder *listing_builder_new(void)
{
	return g_new0(struct listing_builder, 1);
}

void listing_builder_free(struct listing_builder *b)
{
	if (b == NULL)
		return;
	g_free(b->entries);
	g_free(b->heap);
	g_free(b);
}

static bool capacity_ensure(void **array, size_t *capacity, size_t wanted, size_t size)
{
	if (wanted <= *capacity)
		return true;
	size_t grown = MAX(wanted, *capacity + *capacity / 2 + 64);
	void *bigger = g_try_realloc_n(*array, grown, size);
	if (bigger == NULL)
		return false;
	*array = bigger;
	*capacity = grown;
	return true;
}

static void heap_put(struct listing_builder *b, const void *data, size_t length)
{
	memcpy(b->heap + b->heap_length, data, length);
	b->heap_length += length;
}

static const char *entry_refused(const char *name, size_t name_len, const struct listing_entry *e,
                                 const char *target, GBytes *xattrs)
{
	const char *why = listing_name_refused(name, name_len);
	if (why != NULL)
		return why;
	if (e->ino == 0 || e->nlink == 0 || !listing_type_known(e->mode))
		return "no identity or type";
	if (S_ISLNK(e->mode) != (target != NULL))
		return "a link without target, or a target without link";
	if (target != NULL && (target[0] == '\0' || strlen(target) > LISTING_TARGET_MAX))
		return "a link target that cannot be";
	if (xattrs != NULL) {
		size_t size = 0;
		const char *data = g_bytes_get_data(xattrs, &size);
		if (data == NULL || listing_xattrs_check(data, size) != size)
			return "malformed attributes";
	}
	return NULL;
}

bool listing_builder_add(struct listing_builder *b, const char *name, size_t name_len,
                         const struct listing_entry *e, const char *target, GBytes *xattrs,
                         GError **error)
{
	const char *why = entry_refused(name, name_len, e, target, xattrs);
	if (why != NULL) {
		g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL, "refused %s", why);
		return false;
	}
	size_t target_size = target != NULL ? strlen(target) + 1 : 0;
	size_t xattrs_size = xattrs != NULL ? g_bytes_get_size(xattrs) : 0;
	size_t heap_wanted = b->heap_length + name_len + 1 + target_size + xattrs_size;
	if (b->count + 1 >= NONE ||
	    listing_heap_offset(b->count + 1) + heap_wanted + LISTING_VALIDATOR_MAX + 1 >
	            LISTING_BLOB_MAX)
		b->failed = true;
	if (b->failed ||
	    !capacity_ensure((void **)&b->entries, &b->entries_capacity, b->count + 1, sizeof *e) ||
	    !capacity_ensure((void **)&b->heap, &b->heap_capacity, heap_wanted, 1)) {
		b->failed = true;
		g_set_error_literal(error, LOCAL_ERROR, EFBIG, "directory too large to be kept");
		return false;
	}
	struct listing_entry *to = &b->entries[b->count++];
	*to = *e;
	to->flags &= LISTING_SIZE_EXACT | LISTING_MTIME_KNOWN;
	to->listed_hash = listing_entry_hash(to);
	to->cookie = 0;
	to->name_off = b->heap_length;
	to->name_len = name_len;
	heap_put(b, name, name_len);
	heap_put(b, "", 1);
	to->target_off = target != NULL ? b->heap_length : 0;
	if (target != NULL)
		heap_put(b, target, target_size);
	to->xattr_off = xattrs != NULL ? b->heap_length : 0;
	if (xattrs != NULL)
		heap_put(b, g_bytes_get_data(xattrs, NULL), xattrs_size);
	return true;
}

uint64_t listing_builder_memory(const struct listing_builder *b, bool finish)
{
	uint64_t bytes = b->entries_capacity * sizeof *b->entries + b->heap_capacity;
	/* the blob, keys, places, survivors, keep flags */
	uint64_t each = sizeof(struct key) + 2 * sizeof(uint32_t) + 1;
	if (finish)
		bytes += listing_heap_offset(b->count) + b->heap_length + b->count * each;
	return bytes;
}

void listing_builder_identify(struct listing_builder *b,
                              uint64_t (*identify)(const char *name, size_t name_len, void *user),
                              void *user)
{
	for (size_t i = 0; i < b->count; i++) {
		struct listing_entry *e = &b->entries[i];
		e->ino = identify(b->heap + e->name_off, e->name_len, user);
		g_assert(e->ino != 0);
	}
}

static int key_compare(const void *one, const void *two, void *user)
{
	const struct key *a = one, *z = two;
	const struct listing_builder *b = user;
	if (a->hash != z->hash)
		return a->hash < z->hash ? -1 : 1;
	int order = strcmp(b->heap + b->entries[a->entry].name_off,
	                   b->heap + b->entries[z->entry].name_off);
	if (order != 0)
		return order;
	return (a->entry > z->entry) - (a->entry < z->entry);
}

/* The entries by name, of equal names the first: *count of them. */
static struct key *keys_new(const struct listing_builder *b, uint32_t *count)
{
	struct key *keys = g_new(struct key, b->count + 1);
	for (size_t i = 0; i < b->count; i++) {
		const struct listing_entry *e = &b->entries[i];
		keys[i].hash = XXH3_64bits(b->heap + e->name_off, e->name_len);
		keys[i].entry = i;
	}
	qsort_r(keys, b->count, sizeof *keys, key_compare, (void *)b);
	uint32_t kept = 0;
	for (size_t i = 0; i < b->count; i++)
		if (kept == 0 || keys[kept - 1].hash != keys[i].hash ||
		    strcmp(b->heap + b->entries[keys[kept - 1].entry].name_off,
		           b->heap + b->entries[keys[i].entry].name_off) != 0)
			keys[kept++] = keys[i];
	*count = kept;
	return keys;
}

/* Under previous->lock. Is it the same file under the same name? Then it keeps its cookie and its
 * resolved attributes. */
static bool entry_survives_locked(const struct listing_entry *old, struct listing_entry *e)
{
	bool directory = (old->flags & LISTING_DIRECTORY) != 0 &&
	                 old->listed_hash == e->listed_hash && S_ISREG(e->mode);
	if (old->ino != e->ino || (!directory && (old->mode & S_IFMT) != (e->mode & S_IFMT)))
		return false;
	if (directory)
		e->mode = old->mode;
	if ((old->flags & LISTING_RESOLVED) != 0 && old->listed_hash == e->listed_hash) {
		e->size = old->size;
		e->mtime_ns = old->mtime_ns;
		e->flags = old->flags;
	}
	e->cookie = old->cookie;
	return true;
}

/* For each entry of `previous` the survivor of it, or NONE: both sides are walked in their
 * order by name. */
static uint32_t *survivors_new(struct listing_builder *b, const struct key *keys, uint32_t count,
                               struct listing *previous)
{
	uint32_t old_count = previous->header->count;
	uint32_t *survivors = g_new(uint32_t, old_count + 1u);
	uint32_t k = 0;
	for (uint32_t i = 0; i < old_count; i++) {
		const struct listing_entry *old = &previous->entries[previous->by_name[i]];
		const char *name = listing_name(previous, old);
		uint64_t hash = XXH3_64bits(name, old->name_len);
		int order = 1;
		for (; k < count; k++) {
			struct listing_entry *e = &b->entries[keys[k].entry];
			order = (keys[k].hash > hash) - (keys[k].hash < hash);
			if (order == 0)
				order = strcmp(b->heap + e->name_off, name);
			if (order >= 0)
				break;
		}
		mutex_lock(&previous->lock);
		bool same = k < count && order == 0 &&
		            entry_survives_locked(old, &b->entries[keys[k].entry]);
		mutex_unlock(&previous->lock);
		survivors[previous->by_name[i]] = same ? keys[k].entry : NONE;
	}
	return survivors;
}

struct writer {
	struct listing *listing;
	const struct listing_builder *builder;
	uint32_t *place; /* entry of the builder → index in the listing */
	uint32_t count;
	uint64_t at; /* in the heap */
};

static size_t entry_heap_size(const struct listing_builder *b, uint32_t entry)
{
	size_t end = entry + 1u < b->count ? b->entries[entry + 1u].name_off : b->heap_length;
	return end - b->entries[entry].name_off;
}

static void writer_put(struct writer *w, uint32_t entry, uint32_t cookie)
{
	const struct listing_entry *from = &w->builder->entries[entry];
	struct listing_entry *to = &w->listing->entries[w->count];
	size_t size = entry_heap_size(w->builder, entry);
	memcpy(w->listing->blob + w->at, w->builder->heap + from->name_off, size);
	*to = *from;
	to->cookie = cookie;
	to->name_off = w->at;
	if (from->target_off != 0)
		to->target_off = w->at + (from->target_off - from->name_off);
	if (from->xattr_off != 0)
		to->xattr_off = w->at + (from->xattr_off - from->name_off);
	w->place[entry] = w->count++;
	w->at += size;
}

/* Survivors keep their order; new entries follow in the order of the source. */
static void entries_write(struct writer *w, const uint8_t *keep, struct listing *previous,
                          const uint32_t *survivors)
{
	const struct listing_builder *b = w->builder;
	struct listing_header *h = w->listing->header;
	/* never wraps in practice; if it must, every cookie is given out anew */
	bool renumber = previous != NULL && previous->header->last_cookie >= NONE - b->count;
	h->last_cookie = previous == NULL || renumber ? 0 : previous->header->last_cookie;
	for (uint32_t i = 0; previous != NULL && i < previous->header->count; i++)
		if (survivors[i] != NONE)
			writer_put(w, survivors[i],
			           renumber ? ++h->last_cookie : b->entries[survivors[i]].cookie);
	for (size_t i = 0; i < b->count; i++)
		if (keep[i] && b->entries[i].cookie == 0)
			writer_put(w, i, ++h->last_cookie);
}

static struct listing *listing_build(struct listing_builder *b, const char *validator,
                                     int64_t checked_ns, struct listing *previous)
{
	uint32_t count = 0;
	g_autofree struct key *keys = keys_new(b, &count);
	g_autofree uint8_t *keep = g_new0(uint8_t, b->count + 1);
	uint64_t length = listing_heap_offset(count);
	for (uint32_t i = 0; i < count; i++) {
		keep[keys[i].entry] = 1;
		length += entry_heap_size(b, keys[i].entry);
	}
	size_t validator_length = validator != NULL ? strlen(validator) : 0;
	if (validator_length > LISTING_VALIDATOR_MAX)
		validator_length = 0; /* the next request is unconditional */
	char *blob = g_try_malloc(length + validator_length + 1);
	if (blob == NULL)
		return NULL;
	struct listing_header *h = (struct listing_header *)blob;
	*h = (struct listing_header){.magic = LISTING_MAGIC,
	                             .length = length + validator_length + 1,
	                             .checked_ns = checked_ns,
	                             .count = count,
	                             .validator_off = length};
	if (validator_length > 0)
		memcpy(blob + length, validator, validator_length);
	blob[length + validator_length] = '\0';

	struct listing *l = listing_wrap(blob);
	g_autofree uint32_t *place = g_new(uint32_t, b->count + 1);
	g_autofree uint32_t *survivors =
	        previous != NULL ? survivors_new(b, keys, count, previous) : NULL;
	struct writer w = {l, b, place, 0, listing_heap_offset(count)};
	entries_write(&w, keep, previous, survivors);
	g_assert(w.count == count && w.at == length);
	for (uint32_t i = 0; i < count; i++)
		l->by_name[i] = place[keys[i].entry];
	return l;
}

struct listing *listing_builder_finish(struct listing_builder *b, const char *validator,
                                       int64_t checked_ns, const struct listing *previous)
{
	/* only to lock it: survivors are copied from a listing that other threads may resolve */
	struct listing *l =
	        b->failed ? NULL
	                  : listing_build(b, validator, checked_ns, (struct listing *)previous);
	listing_builder_free(b);
	return l;
}
