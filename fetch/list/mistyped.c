/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Directories that a listing shows as files, found by a request for attributes or a read. This may
 * be outdated: the name was a directory for a moment, and the listing is newer. It holds as
 * long as the listing is unchanged, or until listing the directory fails and the source reports a
 * file. */
#include <string.h>
#include <sys/stat.h>
#include "fetch/base/error.h"
#include "fetch/list/lister_private.h"

struct listing *directory_found_locked(struct directory *d, uint32_t index)
{
	struct listing *before = d->listing, *after;

	after = listing_with_directory(before, index, source_lister(d->lister->source)->dir_mode);
	if (after == NULL)
		return NULL;
	d->listing = after;
	directory_relisted_locked(d);
	directory_unsaved_locked(d, false);
	return before;
}

bool directory_found(struct directory *d, const char *name)
{
	bool guesses = source_lister(d->lister->source)->dir_mode != 0, found;
	struct listing *before = NULL;
	uint32_t index;

	lister_lock(d->lister);
	found = d->listing && listing_find(d->listing, name, &index) &&
	        S_ISREG(listing_at(d->listing, index)->mode);
	if (found && guesses)
		found = (before = directory_found_locked(d, index)) != NULL;
	else if (found)
		d->expired_ns = clock_now();
	lister_unlock(d->lister);
	listing_unref(before);
	return found;
}

/* The entry of the parent that was found to be `d`; false: it is listed as a directory. */
static bool mistyped_locked(const struct directory *d, uint32_t *index) REQUIRES(lister_locked)
{
	const struct directory *above = d->parent;
	const char *slash = strrchr(d->path, '/'), *name = slash ? slash + 1 : d->path;
	size_t length = slash ? (size_t)(slash - d->path) : 0;

	/* it may have been moved here */
	if (above == NULL || above->listing == NULL || strlen(above->path) != length ||
	    strncmp(above->path, d->path, length) != 0)
		return false;
	return listing_find(above->listing, name, index) &&
	       (listing_at(above->listing, *index)->flags & LISTING_DIRECTORY) != 0;
}

bool mistyped_suspect_locked(const struct directory *d, const GError *error)
{
	uint32_t index;

	return (g_error_matches(error, FETCH_ERROR, FETCH_MISSING) ||
	        g_error_matches(error, FETCH_ERROR, FETCH_PROTOCOL)) &&
	       mistyped_locked(d, &index);
}

void mistyped_refute(struct directory *d)
{
	struct lister *l = d->lister;
	struct directory *above = d->parent;
	struct listing *before = NULL, *after = NULL;
	uint32_t index;

	lister_lock(l);
	if (mistyped_locked(d, &index))
		after = listing_with_file(above->listing, index,
		                          source_lister(l->source)->file_mode);
	if (after) {
		before = above->listing;
		above->listing = listing_ref(after);
		directory_relisted_locked(above);
		above->untold++;
	}
	lister_unlock(l);
	if (after && l->options.changed)
		l->options.changed(l->options.user, above, before, after);
	if (after) {
		lister_lock(l);
		directory_told_locked(above, false);
		lister_unlock(l);
	}
	listing_unref(before);
	listing_unref(after);
}
