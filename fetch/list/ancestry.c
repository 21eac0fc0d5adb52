/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Directories that a source repeats below themselves: a web server that follows a link to "." shows
 * one tree 40 times (as often as its kernel follows links), and with two such links 2^40 times. A
 * web server reports no identity of a directory, so its whole listing is compared with that of
 * every directory above. A directory may be a real copy of one above it, but a copy ends and a link
 * does not: one request some levels further down decides. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>
#include "fetch/base/error.h"
#include "fetch/list/lister_private.h"

/* No real tree is as deep, and listings of directories alone may be the same at each level. */
#define DEPTH_MAX 256u
/* The depth of that request, in levels: a kernel follows 40 links in a path, and one level may take
 * several. */
#define LEVELS 6u
/* Length of its path: a web server accepts some 8 KiB, with three characters for each byte. */
#define DEEPER_MAX 2000u

struct shape listing_shape(struct listing *l)
{
	struct shape shape = {.count = listing_count(l)};
	for (uint32_t n = 0; n < shape.count; n++) {
		const struct listing_entry *e = listing_at(l, n);
		bool file = (e->flags & LISTING_DIRECTORY) != 0; /* listed as a file */
		uint64_t said[] = {e->listed_hash, file ? S_IFREG : e->mode & S_IFMT};
		/* a sum: the order of two listings may differ */
		shape.hash += XXH3_64bits_withSeed(listing_name(l, e), e->name_len,
		                                   XXH3_64bits(said, sizeof said));
		shape.telling |= S_ISREG(e->mode) && (e->flags & LISTING_MTIME_KNOWN) != 0;
	}
	return shape;
}

/* The mtime of `d` in its parent's listing. */
static bool changed_at_locked(const struct directory *d, int64_t *ns) REQUIRES(lister_locked)
{
	const char *slash = strrchr(d->path, '/'), *name = slash ? slash + 1 : d->path;
	uint32_t index;

	if (d->parent == NULL || d->parent->listing == NULL ||
	    !listing_find(d->parent->listing, name, &index))
		return false;
	const struct listing_entry *e = listing_at(d->parent->listing, index);
	*ns = e->mtime_ns;
	return (e->flags & LISTING_MTIME_KNOWN) != 0;
}

static bool may_be_locked(const struct directory *d, const struct shape *shape,
                          const struct directory *above) REQUIRES(lister_locked)
{
	int64_t mine, others;

	if (above->listing == NULL || above->shape.count != shape->count ||
	    above->shape.hash != shape->hash)
		return false;
	return !changed_at_locked(d, &mine) || !changed_at_locked(above, &others) || mine == others;
}

bool shape_equal(const struct shape *a, const struct shape *b)
{
	return a->count == b->count && a->hash == b->hash;
}

/* The path below `d` that repeats the way from `above` to `d`. */
static char *deeper_path(const struct directory *above, const struct directory *d)
{
	const char *way = d->path + strlen(above->path);
	GString *path = g_string_new(d->path);

	way += *way == '/';
	for (unsigned n = 1; n < LEVELS && (n < 2 || path->len < DEEPER_MAX); n++)
		g_string_append_printf(path, "/%s", way);
	return g_string_free(path, FALSE);
}

enum ancestry directory_ancestry_locked(const struct directory *d, const struct shape *shape,
                                        char **deeper, GError **error)
{
	const struct directory *same = NULL;
	unsigned depth = 0, count = 0;

	if (!source_lister(d->lister->source)->cyclic)
		return ANCESTRY_NONE;
	for (const struct directory *above = d->parent; above; above = above->parent, depth++)
		if (shape->count > 0 && may_be_locked(d, shape, above)) {
			same = same ? same : above;
			count++;
		}
	/* Names alone, without a time, may be the same twice by chance; one name is no evidence,
	 * and makes no tree larger. */
	if (count > 0 && (shape->telling || (count > 1 && shape->count > 1))) {
		if (count < LEVELS) {
			*deeper = deeper_path(same, d);
			return ANCESTRY_DOUBT;
		}
		ancestry_error(d, error);
		return ANCESTRY_LOOP;
	}
	if (depth > DEPTH_MAX) {
		g_autofree char *where = source_describe(d->lister->source, d->path);
		g_set_error(error, LOCAL_ERROR, ELOOP, "%s: more than %u directories deep", where,
		            DEPTH_MAX);
		return ANCESTRY_LOOP;
	}
	return ANCESTRY_NONE;
}

void ancestry_error(const struct directory *d, GError **error)
{
	g_autofree char *where = source_describe(d->lister->source, d->path);

	g_set_error(error, LOCAL_ERROR, ELOOP,
	            "%s: a directory above it is the same: a link to that one, which the server "
	            "follows without an end",
	            where);
}
