/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The names of a directory: its local names, and those of its listing that are not gone. Positions,
 * in the order of a walk: LISTED - number of a local name (overlay.h), then LISTED + cookie of a
 * listed name, or of a local one that was listed when it became local. With DOTS they fit into 31
 * bits up to 2^30 of each. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>
#include "fetch/list/lister_private.h"

#define LISTED ((uint64_t)OVERLAY_NUMBERS)

enum child directory_child(struct directory *d, struct listing *l, const char *name,
                           uint32_t *index)
{
	enum child child = CHILD_NONE;

	lister_lock(d->lister);
	if (d->overlay && overlay_has(d->overlay, name))
		child = CHILD_LOCAL;
	else if ((!d->overlay || !overlay_is_gone(d->overlay, name)) &&
	         listing_find(l, name, index))
		child = CHILD_REMOTE;
	lister_unlock(d->lister);
	return child;
}

bool directory_has_local(struct directory *d, const char *name)
{
	bool has;

	lister_lock(d->lister);
	has = d->overlay && overlay_has(d->overlay, name);
	lister_unlock(d->lister);
	return has;
}

bool directory_is_listed(struct directory *d, const char *name)
{
	uint32_t index;
	bool listed;

	lister_lock(d->lister);
	listed = d->listing && listing_find(d->listing, name, &index) &&
	         !(d->overlay && overlay_is_gone(d->overlay, name));
	lister_unlock(d->lister);
	return listed;
}

static void entry_tell(const struct overlay_entry *e, struct directory_entry *out)
{
	g_strlcpy(out->name, e->name, sizeof out->name);
	out->position = e->number ? LISTED - e->number : LISTED + e->cookie;
	out->type = e->type;
	out->local = true;
}

/* The first name of the listing past `cookie` that has its place there. */
static bool next_listed_locked(struct directory *d, struct listing *l, uint32_t cookie,
                               struct directory_entry *out) REQUIRES(lister_locked)
{
	for (uint32_t n = listing_after(l, cookie); n < listing_count(l); n++) {
		const struct listing_entry *e = listing_at(l, n);
		const char *name = listing_name(l, e);
		struct overlay_entry own;
		bool local = overlay_find(d->overlay, name, &own);

		if (local ? own.cookie != e->cookie : overlay_is_gone(d->overlay, name))
			continue;
		memcpy(out->name, name, e->name_len + 1u);
		out->position = LISTED + e->cookie;
		out->index = n;
		out->local = local;
		out->type = local ? own.type : e->mode & S_IFMT;
		return true;
	}
	return false;
}

static bool next_locked(struct directory *d, struct listing *l, uint64_t position,
                        struct directory_entry *out) REQUIRES(lister_locked)
{
	struct overlay_entry own;
	uint32_t cookie = position > LISTED ? (uint32_t)MIN(position - LISTED, UINT32_MAX) : 0;
	bool found;

	if (position < LISTED && overlay_next(d->overlay, LISTED - position, &own)) {
		entry_tell(&own, out);
		return true;
	}
	found = next_listed_locked(d, l, cookie, out);
	if (overlay_next_unlisted(d->overlay, cookie, &own) &&
	    (!found || LISTED + own.cookie < out->position)) {
		entry_tell(&own, out);
		found = true;
	}
	return found;
}

bool directory_next(struct directory *d, struct listing *l, uint64_t position,
                    struct directory_entry *out)
{
	bool found;

	lister_lock(d->lister);
	found = d->overlay && next_locked(d, l, position, out);
	lister_unlock(d->lister);
	return found;
}

static bool is_listed(void *user, const char *name, uint32_t cookie)
{
	struct listing *l = user;
	uint32_t index;

	return listing_find(l, name, &index) && listing_at(l, index)->cookie == cookie;
}

void directory_relisted_locked(struct directory *d)
{
	d->counted = NULL;
	if (d->overlay)
		overlay_relist(d->overlay, is_listed, d->listing);
}

static uint32_t subdirectories_locked(struct directory *d) REQUIRES(lister_locked)
{
	struct directory_entry e = {.position = 0};
	uint32_t count = 0;

	while (next_locked(d, d->listing, e.position, &e))
		count += e.type == S_IFDIR;
	return count;
}

bool directory_subdirectories(struct directory *d, uint32_t *count)
{
	bool known;

	lister_lock(d->lister);
	known = d->listing && d->overlay;
	if (known && d->counted != d->listing) {
		d->subdirectories = subdirectories_locked(d);
		d->counted = d->listing;
	}
	if (known)
		*count = d->subdirectories;
	lister_unlock(d->lister);
	return known;
}

/* Is the name, as it is now, that of a directory? */
static bool is_directory_locked(struct directory *d, const char *name) REQUIRES(lister_locked)
{
	struct overlay_entry own;
	uint32_t index;

	if (overlay_find(d->overlay, name, &own))
		return own.type == S_IFDIR;
	return d->listing && !overlay_is_gone(d->overlay, name) &&
	       listing_find(d->listing, name, &index) &&
	       S_ISDIR(listing_at(d->listing, index)->mode);
}

enum change { LOCAL_ADD, LOCAL_REMOVE, GONE_ADD };

uint64_t directory_place_key(const struct directory *d, const char *name)
{
	return XXH3_64bits_withSeed(name, strlen(name), d->ino);
}

static void local_add_locked(struct directory *d, const char *name, uint32_t type)
        REQUIRES(lister_locked)
{
	const struct lister_options *o = &d->lister->options;
	uint32_t index, number;
	bool listed = d->listing && listing_find(d->listing, name, &index);

	number = overlay_add(d->overlay, name, type,
	                     listed ? listing_at(d->listing, index)->cookie : 0);
	if (number && o->placed)
		o->placed(o->user, directory_place_key(d, name), number);
}

static void directory_change(struct directory *d, const char *name, uint32_t type,
                             enum change change)
{
	bool before, after;

	lister_lock(d->lister);
	d->missed += d->overlay == NULL;
	if (d->overlay) {
		before = is_directory_locked(d, name);
		if (change == LOCAL_ADD)
			local_add_locked(d, name, type);
		else if (change == LOCAL_REMOVE)
			overlay_remove(d->overlay, name);
		else
			overlay_gone_add(d->overlay, name);
		after = is_directory_locked(d, name);
		d->subdirectories += after - before;
	}
	lister_unlock(d->lister);
}

void directory_local_add(struct directory *d, const char *name, uint32_t type)
{
	directory_change(d, name, type, LOCAL_ADD);
}

void directory_local_remove(struct directory *d, const char *name)
{
	directory_change(d, name, 0, LOCAL_REMOVE);
}

void directory_gone_add(struct directory *d, const char *name)
{
	directory_change(d, name, 0, GONE_ADD);
}

int directory_empty(struct directory *d)
{
	struct directory_entry e;
	bool refused;
	int result;

	lister_lock(d->lister);
	refused = d->overlay && overlay_is_empty(d->overlay) && d->listing == NULL && d->refused;
	if (d->overlay && d->listing)
		result = next_locked(d, d->listing, 0, &e) ? ENOTEMPTY : 0;
	else
		result = refused ? 0 : EIO;
	lister_unlock(d->lister);
	return result;
}
