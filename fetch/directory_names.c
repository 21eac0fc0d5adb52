/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The names of a directory: those of its listing that are not gone, and those that count here.
 * A name that is in the listing has its position there, wherever it counts; the others follow. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "fetch/lister_private.h"

#define LOCAL_FROM (UINT64_C(1) << 32)

enum child directory_child(struct directory *d, struct listing *l, const char *name,
                           uint32_t *index)
{
	enum child child = CHILD_NONE;

	pthread_mutex_lock(&d->lister->lock);
	if (d->overlay && overlay_has(d->overlay, name))
		child = CHILD_LOCAL;
	else if ((!d->overlay || !overlay_is_gone(d->overlay, name)) &&
	         listing_find(l, name, index))
		child = CHILD_REMOTE;
	pthread_mutex_unlock(&d->lister->lock);
	return child;
}

bool directory_has_local(struct directory *d, const char *name)
{
	bool has;

	pthread_mutex_lock(&d->lister->lock);
	has = d->overlay && overlay_has(d->overlay, name);
	pthread_mutex_unlock(&d->lister->lock);
	return has;
}

bool directory_is_listed(struct directory *d, const char *name)
{
	uint32_t index;
	bool listed;

	pthread_mutex_lock(&d->lister->lock);
	listed = d->listing && listing_find(d->listing, name, &index) &&
	         !(d->overlay && overlay_is_gone(d->overlay, name));
	pthread_mutex_unlock(&d->lister->lock);
	return listed;
}

static bool next_listed_locked(struct directory *d, struct listing *l, uint32_t cookie,
                               struct directory_entry *out)
{
	for (uint32_t n = listing_after(l, cookie); n < listing_count(l); n++) {
		const struct listing_entry *e = listing_at(l, n);
		const char *name = listing_name(l, e);
		bool local = d->overlay && overlay_has(d->overlay, name);

		if (!local && d->overlay && overlay_is_gone(d->overlay, name))
			continue;
		memcpy(out->name, name, e->name_len + 1u);
		out->position = e->cookie;
		out->index = n;
		out->local = local;
		out->type = e->mode & S_IFMT;
		return true;
	}
	return false;
}

static bool next_local_locked(struct directory *d, struct listing *l, uint64_t position,
                              struct directory_entry *out)
{
	const char *name;
	uint32_t index;
	uint64_t at;

	while (d->overlay && overlay_next(d->overlay, position, &name, &out->type, &at)) {
		position = at;
		if (listing_find(l, name, &index))
			continue;
		g_strlcpy(out->name, name, sizeof out->name);
		out->position = LOCAL_FROM + at;
		out->local = true;
		return true;
	}
	return false;
}

bool directory_next(struct directory *d, struct listing *l, uint64_t position,
                    struct directory_entry *out)
{
	bool found = false;

	pthread_mutex_lock(&d->lister->lock);
	if (position < LOCAL_FROM)
		found = next_listed_locked(d, l, (uint32_t)position, out);
	if (!found)
		found = next_local_locked(d, l, MAX(position, LOCAL_FROM) - LOCAL_FROM, out);
	pthread_mutex_unlock(&d->lister->lock);
	return found;
}

static uint32_t subdirectories_locked(struct directory *d)
{
	struct directory_entry e;
	uint64_t position = 0;
	uint32_t count = 0;

	while (next_listed_locked(d, d->listing, (uint32_t)position, &e)) {
		position = e.position;
		count += !e.local && e.type == S_IFDIR;
	}
	position = 0;
	for (const char *name; overlay_next(d->overlay, position, &name, &e.type, &position);)
		count += e.type == S_IFDIR;
	return count;
}

bool directory_subdirectories(struct directory *d, uint32_t *count)
{
	bool known;

	pthread_mutex_lock(&d->lister->lock);
	known = d->listing && d->overlay;
	if (known && d->counted != d->listing) {
		d->subdirectories = subdirectories_locked(d);
		d->counted = d->listing;
	}
	if (known)
		*count = d->subdirectories;
	pthread_mutex_unlock(&d->lister->lock);
	return known;
}

/* Is the name, as it is now, that of a directory? */
static bool is_directory_locked(struct directory *d, const char *name)
{
	uint32_t type, index;

	if (overlay_find(d->overlay, name, &type))
		return type == S_IFDIR;
	return d->listing && !overlay_is_gone(d->overlay, name) &&
	       listing_find(d->listing, name, &index) &&
	       S_ISDIR(listing_at(d->listing, index)->mode);
}

enum change { LOCAL_ADD, LOCAL_REMOVE, GONE_ADD };

static void directory_change(struct directory *d, const char *name, uint32_t type,
                             enum change change)
{
	bool before, after;

	pthread_mutex_lock(&d->lister->lock);
	if (d->overlay) {
		before = is_directory_locked(d, name);
		if (change == LOCAL_ADD)
			overlay_add(d->overlay, name, type);
		else if (change == LOCAL_REMOVE)
			overlay_remove(d->overlay, name);
		else
			overlay_gone_add(d->overlay, name);
		after = is_directory_locked(d, name);
		d->subdirectories += after - before;
	}
	pthread_mutex_unlock(&d->lister->lock);
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
	struct listing *l = directory_listing(d, NULL);
	int result = l == NULL ? EIO : directory_next(d, l, 0, &e) ? ENOTEMPTY : 0;

	listing_unref(l);
	return result;
}
