/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Listings out of an index. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>
#include "fetch/base/pool.h"
#include "fetch/source/index/edition.h"

struct reading {
	struct edition *edition;
	struct listing_builder *builder; /* owned */
	GString *path;                   /* owned; of the entry */
	size_t prefix;                   /* of it: the directory's path and '/' */
	GPtrArray *names, *values;       /* owned; xattrs: owned */
	GArray *sizes;
};

/* st_ino: of the path, so that it stays from version to version; names of one file have one. A
 * linked file is told from others by its first block, too: i_ino has 32 bits only. */
static bool ino_of(struct edition *e, const char *path, const struct index_node *node,
                   uint64_t *out, GError **error)
{
	uint64_t ino;
	if (node->nlink > 1 && !S_ISDIR(node->mode)) {
		bool hole;
		struct {
			struct digest first;
			uint64_t size;
			uint32_t identity, mode, rdev, reserved;
		} what = {.size = node->size,
		          .identity = node->identity,
		          .mode = node->mode & S_IFMT,
		          .rdev = node->rdev};
		if (S_ISREG(node->mode) && node->size > 0 &&
		    !index_block(e->index, node, 0, &hole, &what.first, error))
			return false;
		ino = XXH3_64bits(&what, sizeof(what));
	} else {
		ino = XXH3_64bits(path, strlen(path));
	}
	*out = ino > 1 ? ino : ino + 2; /* 0 and 1 are other inodes */
	return true;
}

static bool edition_entry(struct edition *e, const char *path, const struct index_node *node,
                          struct listing_entry *out, GError **error)
{
	struct listing_entry entry = {
	        .size = node->size,
	        .mtime_ns = node->mtime_ns,
	        .mode = node->mode,
	        .uid = e->own ? e->uid : node->uid,
	        .gid = e->own ? e->gid : node->gid,
	        .nlink = node->nlink,
	        .rdev = node->rdev,
	        .flags = LISTING_SIZE_EXACT | LISTING_MTIME_KNOWN,
	};
	if (e->own && !S_ISDIR(node->mode))
		entry.mode &= ~(uint32_t)(S_ISUID | S_ISGID); /* they were for another owner */
	if (!ino_of(e, path, node, &entry.ino, error))
		return false;
	*out = entry;
	return true;
}

static void xattr_add(void *user, const char *name, const void *value, size_t size)
{
	struct reading *r = user;
	g_ptr_array_add(r->names, g_strdup(name));
	g_ptr_array_add(r->values, memcpy(g_malloc(size + 1), value, size));
	g_array_append_val(r->sizes, size);
}

static bool xattrs_read(struct reading *r, const struct index_node *node, GBytes **out,
                        GError **error)
{
	g_ptr_array_set_size(r->names, 0);
	g_ptr_array_set_size(r->values, 0);
	g_array_set_size(r->sizes, 0);
	if (!index_xattrs(r->edition->index, node, xattr_add, r, error))
		return false;
	*out = listing_xattrs_pack(r->names->len, (const char *const *)r->names->pdata,
	                           (const void *const *)r->values->pdata,
	                           (const size_t *)(const void *)r->sizes->data);
	return true;
}

static bool entry_add(void *user, const struct index_name *name, GError **error)
{
	struct reading *r = user;
	struct index *x = r->edition->index;
	struct index_node node;
	struct listing_entry entry;
	g_autoptr(GBytes) xattrs = NULL;
	g_autofree char *target = NULL;
	g_string_truncate(r->path, r->prefix);
	g_string_append_len(r->path, name->name, (gssize)name->length);
	if (!index_node(x, name->nid, &node, error))
		return false;
	if (S_ISDIR(node.mode) != (name->type == EROFS_FT_DIRECTORY)) {
		g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL,
		            "the index: /%s: another type than its directory says", r->path->str);
		return false;
	}
	if (S_ISLNK(node.mode) && (target = index_target(x, &node, error)) == NULL)
		return false;
	return edition_entry(r->edition, r->path->str, &node, &entry, error) &&
	       xattrs_read(r, &node, &xattrs, error) &&
	       listing_builder_add(r->builder, name->name, name->length, &entry, target, xattrs,
	                           error);
}

/* The nid of the directory above `path`. */
static bool parent_of(struct edition *e, const char *path, const struct index_node *node,
                      uint64_t *out, GError **error)
{
	const char *slash = strrchr(path, '/');
	g_autofree char *above =
	        slash != NULL ? g_strndup(path, (gsize)(slash - path)) : g_strdup("");
	struct index_node parent = *node;
	if (path[0] != '\0' && !index_find(e->index, above, &parent, error))
		return false;
	*out = parent.nid;
	return true;
}

static bool reading_run(struct reading *r, struct source_list *req, GError **error)
{
	struct edition *e = r->edition;
	struct index_node node;
	uint64_t parent;
	if (!index_find(e->index, req->base.path, &node, error))
		return false;
	if (!S_ISDIR(node.mode)) {
		g_set_error(error, FETCH_ERROR, FETCH_MISSING, "/%s: a file in the index",
		            req->base.path);
		return false;
	}
	return parent_of(e, req->base.path, &node, &parent, error) &&
	       index_list(e->index, &node, parent, entry_add, r, error);
}

static struct reading reading_new(struct edition *e, const char *path)
{
	return (struct reading){
	        .edition = e,
	        .builder = listing_builder_new(),
	        .path = g_string_new(path),
	        .names = g_ptr_array_new_with_free_func(g_free),
	        .values = g_ptr_array_new_with_free_func(g_free),
	        .sizes = g_array_new(FALSE, FALSE, sizeof(size_t)),
	};
}

static void reading_clear(struct reading *r)
{
	if (r->builder != NULL)
		listing_builder_free(r->builder);
	g_string_free(r->path, TRUE);
	g_ptr_array_unref(r->names);
	g_ptr_array_unref(r->values);
	g_array_unref(r->sizes);
}

struct listing *edition_top(struct edition *e)
{
	struct reading r = reading_new(e, "");
	struct listing *listing = NULL;
	struct listing_entry entry;
	struct index_node node;
	g_autoptr(GBytes) xattrs = NULL;
	g_autoptr(GError) error = NULL;
	if (index_top(e->index, &node, &error) && edition_entry(e, "", &node, &entry, &error) &&
	    xattrs_read(&r, &node, &xattrs, &error) &&
	    listing_builder_add(r.builder, "root", 4, &entry, NULL, xattrs, &error))
		listing = listing_builder_finish(g_steal_pointer(&r.builder), "", 0, NULL);
	reading_clear(&r);
	return listing;
}

bool edition_list(struct edition *e, struct source_list *req, GError **error)
{
	char validator[32];
	g_snprintf(validator, sizeof(validator), "O%016" G_GINT64_MODIFIER "x", (guint64)e->shape);
	if (req->previous != NULL && strcmp(listing_validator(req->previous), validator) == 0) {
		req->listing = listing_ref(req->previous);
		return true;
	}
	struct reading r = reading_new(e, req->base.path);
	if (r.path->len > 0)
		g_string_append_c(r.path, '/');
	r.prefix = r.path->len;
	bool ok = reading_run(&r, req, error);
	if (ok)
		req->listing = listing_builder_finish(g_steal_pointer(&r.builder), validator,
		                                      clock_realtime(), req->previous);
	if (ok && req->listing == NULL) {
		g_set_error(error, LOCAL_ERROR, ENOMEM, "/%s: too large to be listed",
		            req->base.path);
		ok = false;
	}
	reading_clear(&r);
	return ok;
}
