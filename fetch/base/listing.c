/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/error.h"
#include "fetch/base/listing_private.h"
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

struct listing *listing_wrap(char *blob)
{
	struct listing *l = g_new0(struct listing, 1);
	l->refs = 1;
	mutex_init(&l->lock, RANK_LISTING);
	l->blob = blob;
	l->entries = (struct listing_entry *)(blob + sizeof(struct listing_header));
	l->by_name = (uint32_t *)(l->entries + l->header->count);
	return l;
}

struct listing *listing_ref(struct listing *l)
{
	__atomic_fetch_add(&l->refs, 1, __ATOMIC_RELAXED);
	return l;
}

void listing_unref(struct listing *l)
{
	if (l == NULL || __atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	mutex_destroy(&l->lock);
	g_free(l->blob);
	g_free(l);
}

uint32_t listing_count(const struct listing *l)
{
	return l->header->count;
}

const struct listing_entry *listing_at(const struct listing *l, uint32_t index)
{
	g_assert(index < l->header->count);
	return &l->entries[index];
}

const char *listing_name(const struct listing *l, const struct listing_entry *e)
{
	return l->blob + e->name_off;
}

const char *listing_target(const struct listing *l, const struct listing_entry *e)
{
	return e->target_off == 0 ? NULL : l->blob + e->target_off;
}

bool listing_find(const struct listing *l, const char *name, uint32_t *index)
{
	size_t length = strlen(name);
	uint64_t hash = XXH3_64bits(name, length);
	uint32_t low = 0, high = l->header->count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct listing_entry *e = &l->entries[l->by_name[middle]];
		const char *other = l->blob + e->name_off;
		uint64_t other_hash = XXH3_64bits(other, e->name_len);
		int order = (hash > other_hash) - (hash < other_hash);
		if (order == 0)
			order = strcmp(name, other);
		if (order == 0) {
			*index = l->by_name[middle];
			return true;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}

uint32_t listing_after(const struct listing *l, uint32_t cookie)
{
	uint32_t low = 0, high = l->header->count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (l->entries[middle].cookie > cookie)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

const char *listing_validator(const struct listing *l)
{
	return l->blob + l->header->validator_off;
}

int64_t listing_checked(const struct listing *l)
{
	return __atomic_load_n(&l->header->checked_ns, __ATOMIC_RELAXED);
}

void listing_set_checked(struct listing *l, int64_t now_ns)
{
	mutex_lock(&l->lock);
	__atomic_store_n(&l->header->checked_ns, now_ns, __ATOMIC_RELAXED);
	mutex_unlock(&l->lock);
}

void listing_resolve(struct listing *l, uint32_t index, uint64_t size, bool mtime_known,
                     int64_t mtime_ns)
{
	g_assert(index < l->header->count);
	struct listing_entry *e = &l->entries[index];
	mutex_lock(&l->lock);
	e->size = size;
	e->flags |= LISTING_SIZE_EXACT | LISTING_RESOLVED;
	if (mtime_known) {
		e->mtime_ns = mtime_ns;
		e->flags |= LISTING_MTIME_KNOWN;
	}
	mutex_unlock(&l->lock);
}

static struct listing *listing_copy(struct listing *l)
{
	char *blob = g_try_malloc(l->header->length);
	if (blob == NULL)
		return NULL;
	mutex_lock(&l->lock);
	memcpy(blob, l->blob, l->header->length);
	mutex_unlock(&l->lock);
	return listing_wrap(blob);
}

struct listing *listing_with_directory(struct listing *l, uint32_t index, uint32_t permissions)
{
	g_assert(index < l->header->count);
	struct listing *copy = listing_copy(l);
	if (copy == NULL)
		return NULL;
	struct listing_entry *e = &copy->entries[index];
	e->mode = S_IFDIR | (permissions & 07777);
	e->size = 0;
	e->flags |= LISTING_SIZE_EXACT | LISTING_RESOLVED | LISTING_DIRECTORY;
	return copy;
}

struct listing *listing_with_file(struct listing *l, uint32_t index, uint32_t permissions)
{
	g_assert(index < l->header->count);
	struct listing *copy = listing_copy(l);
	if (copy == NULL)
		return NULL;
	struct listing_entry *e = &copy->entries[index];
	g_assert((e->flags & LISTING_DIRECTORY) != 0);
	e->mode = S_IFREG | (permissions & 07777);
	e->flags &= ~(LISTING_SIZE_EXACT | LISTING_RESOLVED | LISTING_DIRECTORY);
	return copy;
}

void listing_unresolve(struct listing *l, uint32_t index)
{
	g_assert(index < l->header->count);
	struct listing_entry *e = &l->entries[index];
	mutex_lock(&l->lock);
	if ((e->flags & LISTING_RESOLVED) != 0 && (e->flags & LISTING_DIRECTORY) == 0)
		e->flags &= ~(LISTING_RESOLVED | LISTING_SIZE_EXACT);
	mutex_unlock(&l->lock);
}

uint64_t listing_entry_hash(const struct listing_entry *e)
{
	uint64_t said[] = {e->size, (uint64_t)e->mtime_ns,
	                   e->flags & (LISTING_SIZE_EXACT | LISTING_MTIME_KNOWN)};
	return XXH3_64bits(said, sizeof said);
}

const char *listing_name_refused(const char *name, size_t length)
{
	if (length == 0)
		return "an empty name";
	if (length > 255)
		return "a name of more than 255 bytes";
	if (name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.')))
		return "the name \".\" or \"..\"";
	if (memchr(name, '/', length) != NULL)
		return "a name with '/'";
	if (memchr(name, '\0', length) != NULL)
		return "a name with a NUL";
	return NULL;
}

bool listing_type_known(uint32_t mode)
{
	return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISCHR(mode) || S_ISBLK(mode) ||
	       S_ISFIFO(mode) || S_ISSOCK(mode);
}

GBytes *listing_to_bytes(struct listing *l)
{
	uint64_t length = l->header->length;
	char *copy = g_malloc(length);
	mutex_lock(&l->lock);
	memcpy(copy, l->blob, length);
	mutex_unlock(&l->lock);
	struct listing_header *h = (struct listing_header *)copy;
	h->checksum = XXH3_64bits(&h->length, length - offsetof(struct listing_header, length));
	return g_bytes_new_take(copy, length);
}

/* Could the builder have made entry `i`, whose heap items begin at *at? Moves *at past them. */
static bool entry_check(const struct listing *l, uint32_t i, uint64_t *at)
{
	const struct listing_entry *e = &l->entries[i];
	uint64_t end = l->header->length, next = *at;
	if (e->ino == 0 || e->nlink == 0 || e->cookie == 0 || e->cookie > l->header->last_cookie ||
	    (i > 0 && e->cookie <= e[-1].cookie) || !listing_type_known(e->mode) ||
	    (e->flags & ~(LISTING_SIZE_EXACT | LISTING_MTIME_KNOWN | LISTING_RESOLVED |
	                  LISTING_DIRECTORY)) != 0 ||
	    ((e->flags & LISTING_DIRECTORY) != 0 && !S_ISDIR(e->mode)) ||
	    S_ISLNK(e->mode) != (e->target_off != 0))
		return false;
	if (e->name_off != next || e->name_len >= end - next)
		return false;
	if (listing_name_refused(l->blob + next, e->name_len) != NULL ||
	    l->blob[next + e->name_len] != '\0')
		return false;
	next += e->name_len + 1u;
	if (e->target_off != 0) {
		size_t most = MIN(end - next, LISTING_TARGET_MAX + 1u);
		size_t length = strnlen(l->blob + next, most);
		if (e->target_off != next || length == 0 || length == most)
			return false;
		next += length + 1;
	}
	if (e->xattr_off != 0) {
		size_t length =
		        e->xattr_off != next ? 0 : listing_xattrs_check(l->blob + next, end - next);
		if (length == 0)
			return false;
		next += length;
	}
	*at = next;
	return true;
}

static bool index_check(const struct listing *l)
{
	uint32_t count = l->header->count;
	g_autofree uint64_t *hashes = g_try_new(uint64_t, count + 1u);
	if (hashes == NULL)
		return false;
	for (uint32_t i = 0; i < count; i++)
		hashes[i] = XXH3_64bits(l->blob + l->entries[i].name_off, l->entries[i].name_len);
	/* strictly rising: all are different, so all are there */
	for (uint32_t i = 0; i < count; i++) {
		uint32_t here = l->by_name[i];
		if (here >= count)
			return false;
		if (i == 0)
			continue;
		uint32_t before = l->by_name[i - 1];
		if (hashes[before] > hashes[here] ||
		    (hashes[before] == hashes[here] &&
		     strcmp(l->blob + l->entries[before].name_off,
		            l->blob + l->entries[here].name_off) >= 0))
			return false;
	}
	return true;
}

static bool blob_check(const struct listing *l)
{
	const struct listing_header *h = l->header;
	uint64_t at = listing_heap_offset(h->count);
	for (uint32_t i = 0; i < h->count; i++)
		if (!entry_check(l, i, &at))
			return false;
	uint64_t length = h->length - at;
	return h->validator_off == at && length > 0 && length <= LISTING_VALIDATOR_MAX + 1u &&
	       strnlen(l->blob + at, length) == length - 1 && index_check(l);
}

const char *listing_refused(const void *data, size_t size)
{
	const size_t covered = offsetof(struct listing_header, length);
	struct listing_header h;
	if (size < sizeof h || size > LISTING_BLOB_MAX)
		return "impossible size";
	memcpy(&h, data, sizeof h);
	if (h.magic != LISTING_MAGIC)
		return "not a listing of this version";
	if (h.length != size || listing_heap_offset(h.count) >= size || h.reserved != 0)
		return "lengths that do not agree";
	if (h.checksum != XXH3_64bits((const char *)data + covered, size - covered))
		return "checksum mismatch";
	return NULL;
}

struct listing *listing_from_bytes(GBytes *bytes, GError **error)
{
	size_t size = 0;
	const char *data = g_bytes_get_data(bytes, &size);
	const char *wrong = listing_refused(data, size);
	char *blob = wrong == NULL ? g_try_malloc(size) : NULL;
	if (blob == NULL) {
		g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL, "stored listing refused: %s",
		            wrong != NULL ? wrong : "no memory");
		return NULL;
	}
	memcpy(blob, data, size);
	struct listing *l = listing_wrap(blob);
	if (!blob_check(l)) {
		listing_unref(l);
		g_set_error_literal(error, FETCH_ERROR, FETCH_PROTOCOL,
		                    "stored listing refused: its content is inconsistent");
		return NULL;
	}
	return l;
}
