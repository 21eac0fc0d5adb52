/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Directories: their names in order, and one of them by name. */
#include <string.h>
#include <sys/stat.h>
#include "fetch/index/index_private.h"

#define NAME_LENGTH_MAX 255u

/* One block of a directory. */
struct block {
	const uint8_t *data;
	size_t length;
	unsigned count; /* of entries */
};

static bool block_open(struct index *x, const struct index_node *dir, uint64_t n, struct block *out,
                       GError **error)
{
	struct block b;
	b.data = index_flat(x, dir, n, &b.length, error);
	if (b.data == NULL)
		return false;
	size_t names = 0;
	if (b.length >= sizeof(struct erofs_dirent))
		names = le16toh(((const struct erofs_dirent *)b.data)->name);
	if (names < sizeof(struct erofs_dirent) || names % sizeof(struct erofs_dirent) != 0 ||
	    names >= b.length)
		return index_refuse(x, dir->nid, error, "a directory block without entries");
	b.count = (unsigned)(names / sizeof(struct erofs_dirent));
	*out = b;
	return true;
}

static bool block_name(struct index *x, const struct index_node *dir, const struct block *b,
                       unsigned n, struct index_name *out, GError **error)
{
	const struct erofs_dirent *e = (const struct erofs_dirent *)b->data + n;
	size_t from = le16toh(e->name), end = b->length;
	if (n + 1 < b->count)
		end = le16toh(e[1].name);
	if (from < b->count * sizeof(*e) || from >= end || end > b->length)
		return index_refuse(x, dir->nid, error, "names that are not in their block");
	const char *name = (const char *)b->data + from;
	size_t length = n + 1 < b->count ? end - from : strnlen(name, end - from);
	if (length == 0 || length > NAME_LENGTH_MAX || memchr(name, '\0', length) != NULL ||
	    memchr(name, '/', length) != NULL)
		return index_refuse(x, dir->nid, error, "a name that no file can have");
	*out = (struct index_name){name, length, le64toh(e->nid), e->type};
	return true;
}

/* Unsigned bytes, and a prefix is less. */
static int name_compare(const char *a, size_t a_length, const char *b, size_t b_length)
{
	int order = memcmp(a, b, MIN(a_length, b_length));
	return order != 0 ? order : (a_length > b_length) - (a_length < b_length);
}

static bool is_dots(const struct index_name *n)
{
	return n->length <= 2 && memcmp(n->name, "..", n->length) == 0;
}

struct walk {
	struct index *index;
	const struct index_node *directory;
	uint64_t parent;
	struct index_name last;
	unsigned dots;           /* "." and "..", once each */
	GHashTable *directories; /* uint64_t nid, borrowed from `nids`; NULL: none yet */
	GPtrArray *nids;         /* owned */
};

/* A directory with two names is no tree. Two names in different directories are noticed by "..". */
static bool walk_directory(struct walk *w, const struct index_name *n, GError **error)
{
	if (w->directories == NULL) {
		w->directories = g_hash_table_new(g_int64_hash, g_int64_equal);
		w->nids = g_ptr_array_new_with_free_func(g_free);
	}
	uint64_t *nid = g_memdup2(&n->nid, sizeof(n->nid));
	g_ptr_array_add(w->nids, nid);
	return g_hash_table_add(w->directories, nid) ||
	       index_refuse(w->index, n->nid, error, "a directory with two names");
}

static bool walk_name(struct walk *w, const struct index_name *n, index_each each, void *user,
                      GError **error)
{
	const struct index_node *dir = w->directory;
	if (w->last.name != NULL &&
	    name_compare(w->last.name, w->last.length, n->name, n->length) >= 0)
		return index_refuse(w->index, dir->nid, error, "its names are not in order");
	w->last = *n;
	if (is_dots(n)) {
		w->dots++;
		return n->nid == (n->length == 1 ? dir->nid : w->parent) ||
		       index_refuse(w->index, dir->nid, error,
		                    "a directory that belongs to another one");
	}
	return (n->type != EROFS_FT_DIRECTORY || walk_directory(w, n, error)) &&
	       each(user, n, error);
}

bool index_list(struct index *x, const struct index_node *directory, uint64_t parent,
                index_each each, void *user, GError **error)
{
	INDEX_USE(x);
	struct walk w = {.index = x, .directory = directory, .parent = parent};
	bool ok = directory->size > 0 ||
	          index_refuse(x, directory->nid, error, "a directory of no size");
	uint64_t blocks = (directory->size + EROFS_BLOCK - 1) / EROFS_BLOCK;
	for (uint64_t n = 0; ok && n < blocks; n++) {
		struct block b;
		struct index_name name;
		ok = block_open(x, directory, n, &b, error);
		for (unsigned i = 0; ok && i < b.count; i++)
			ok = block_name(x, directory, &b, i, &name, error) &&
			     walk_name(&w, &name, each, user, error);
	}
	ok = ok &&
	     (w.dots == 2 || index_refuse(x, directory->nid, error, "a directory without \"..\""));
	if (w.directories != NULL) {
		g_hash_table_unref(w.directories);
		g_ptr_array_unref(w.nids);
	}
	return ok;
}

/* The last block whose first name is not after `name`: the only one that may have it. */
static bool block_find(struct index *x, const struct index_node *dir, const char *name,
                       size_t length, struct block *out, GError **error)
{
	uint64_t low = 0, high = (dir->size + EROFS_BLOCK - 1) / EROFS_BLOCK;
	struct index_name first;
	struct block b;
	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;
		if (!block_open(x, dir, middle, &b, error) ||
		    !block_name(x, dir, &b, 0, &first, error))
			return false;
		if (name_compare(first.name, first.length, name, length) <= 0)
			low = middle;
		else
			high = middle;
	}
	return block_open(x, dir, low, out, error);
}

/* *nid: 0 where there is no such name. */
static bool name_find(struct index *x, const struct index_node *dir, const char *name,
                      size_t length, uint64_t *nid, GError **error)
{
	struct block b;
	if (dir->size == 0)
		return index_refuse(x, dir->nid, error, "a directory of no size");
	if (!block_find(x, dir, name, length, &b, error))
		return false;
	unsigned low = 0, high = b.count;
	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		struct index_name n;
		if (!block_name(x, dir, &b, middle, &n, error))
			return false;
		int order = name_compare(n.name, n.length, name, length);
		if (order == 0) {
			*nid = n.nid;
			return true;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*nid = 0;
	return true;
}

/* Is `dir` really below `parent`? A file needs no such proof: nothing is below it. */
static bool parent_check(struct index *x, const struct index_node *dir, uint64_t parent,
                         GError **error)
{
	uint64_t above;
	return name_find(x, dir, "..", 2, &above, error) &&
	       (above == parent ||
	        index_refuse(x, dir->nid, error, "a directory that belongs to another one"));
}

static bool missing(const char *path, GError **error)
{
	g_set_error(error, FETCH_ERROR, FETCH_MISSING, "/%s: not in the index", path);
	return false;
}

bool index_find(struct index *x, const char *path, struct index_node *out, GError **error)
{
	INDEX_USE(x);
	struct index_node node;
	if (!index_top(x, &node, error))
		return false;
	for (const char *at = path; *at != '\0';) {
		size_t length = strcspn(at, "/");
		uint64_t nid, parent = node.nid;
		if (!S_ISDIR(node.mode))
			return missing(path, error);
		if (!name_find(x, &node, at, length, &nid, error))
			return false;
		if (nid == 0)
			return missing(path, error);
		if (!index_node(x, nid, &node, error) ||
		    (S_ISDIR(node.mode) && !parent_check(x, &node, parent, error)))
			return false;
		at += length + (at[length] == '/');
	}
	*out = node;
	return true;
}
