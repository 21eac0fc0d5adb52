/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include "fetch/list/lister_private.h"

/* After a failure to reach the source, stale listings are served for a while: every stale directory
 * of a walk would wait for its own deadline otherwise. */
#define DOWN_NS (INT64_C(10) * 1000000000)
/* A listing that could not be revalidated is served for that long, or its lifetime if shorter. */
#define QUIET_MS 30000

struct directory *directory_new(struct lister *l, const char *path, uint64_t ino, void *owner)
{
	size_t length = strlen(path) + 1;
	struct directory *d = g_malloc0(sizeof *d + length);

	d->lister = l;
	d->owner = owner;
	d->ino = ino;
	d->refs = 1;
	memcpy(d->path, path, length);
	return d;
}

struct directory *directory_new_local(struct lister *l, uint64_t ino, bool empty,
                                      void *owner) UNSHARED
{
	struct directory *d = directory_new(l, "", ino, owner);

	d->local = true;
	d->listing = listing_builder_finish(listing_builder_new(), "", 0, NULL);
	if (d->listing == NULL)
		g_error("no memory for an empty listing");
	if (empty) {
		d->looked = true;
		d->overlay = overlay_new();
	}
	return d;
}

void directory_set_parent(struct directory *d, struct directory *parent)
{
	d->parent = parent ? directory_ref(parent) : NULL;
}

struct directory *directory_ref(struct directory *d)
{
	__atomic_fetch_add(&d->refs, 1, __ATOMIC_RELAXED);
	return d;
}

void directory_unref(struct directory *d) UNSHARED
{
	if (d == NULL || __atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	g_assert(d->waiters == NULL && !d->refreshing);
	directory_unref(d->parent);
	listing_unref(d->listing);
	overlay_free(d->overlay);
	g_free(d->attributes);
	g_free(d->cause);
	g_free(d);
}

void *directory_owner(const struct directory *d)
{
	return d->owner;
}

const char *directory_path(const struct directory *d)
{
	return d->path;
}

static bool listing_is_due(const struct listing *l, unsigned ttl_ms)
{
	int64_t age = clock_realtime() - listing_checked(l);

	/* a clock that was set back must not make a listing last for ever */
	return ttl_ms != UINT_MAX && (age < 0 || age >= (int64_t)ttl_ms * 1000000);
}

/* The current listing is served, fresh or not: it has no remote entries, or a new request is too
 * early. */
static bool quiet_locked(const struct directory *d) REQUIRES(lister_locked)
{
	const struct lister *l = d->lister;

	return d->local || clock_now() < d->quiet_ns ||
	       (l->down && clock_now() < l->down_until_ns) ||
	       (l->options.overtaxed && l->options.overtaxed(l->options.user));
}

int64_t directory_after_locked(const struct directory *d, int64_t since_ns)
{
	return MAX(d->lister->options.ttl_ms == 0 ? since_ns : 0, d->expired_ns);
}

bool directory_fresh_locked(struct directory *d, int64_t since_ns)
{
	unsigned ttl_ms = d->lister->options.ttl_ms;

	if (d->listing == NULL || d->overlay == NULL)
		return false;
	if (quiet_locked(d))
		return true;
	return d->asked_ns >= directory_after_locked(d, since_ns) &&
	       (ttl_ms == 0 || !listing_is_due(d->listing, ttl_ms));
}

struct listing *directory_listing(struct directory *d, bool *fresh)
{
	struct lister *l = d->lister;
	struct listing *listing;
	bool is_fresh;

	lister_lock(l);
	listing = d->listing && d->overlay ? listing_ref(d->listing) : NULL;
	is_fresh = directory_fresh_locked(d, clock_now());
	lister_unlock(l);
	if (fresh)
		*fresh = is_fresh;
	return listing;
}

bool directory_find_locked(struct directory *d, struct listing *l, uint32_t index, uint32_t *now)
{
	const struct listing_entry *then = listing_at(l, index), *e;
	uint32_t found;

	if (d->listing == l) {
		*now = index;
		return true;
	}
	if (d->listing == NULL || !listing_find(d->listing, listing_name(l, then), &found))
		return false;
	e = listing_at(d->listing, found);
	bool found_out = (e->flags & LISTING_DIRECTORY) != 0 && e->listed_hash == then->listed_hash;
	if (e->ino != then->ino || (!found_out && ((e->mode ^ then->mode) & S_IFMT) != 0))
		return false;
	*now = found;
	return true;
}

void directory_entry(struct directory *d, struct listing *l, uint32_t index,
                     struct listing_entry *out)
{
	const struct listing_entry *e = listing_at(l, index), *now;
	uint32_t found;

	lister_lock(d->lister);
	*out = *e;
	if (d->listing != l && directory_find_locked(d, l, index, &found)) {
		/* only resolved attributes: the rest belongs to `l` and its offsets */
		now = listing_at(d->listing, found);
		if (now->listed_hash == e->listed_hash && (now->flags & LISTING_RESOLVED)) {
			out->size = now->size;
			out->mtime_ns = now->mtime_ns;
			out->flags = now->flags;
			out->mode = now->mode;
		}
	}
	lister_unlock(d->lister);
}

void directory_resolve(struct directory *d, struct listing *l, uint32_t index, uint64_t size,
                       bool mtime_known, int64_t mtime_ns)
{
	uint32_t now;

	lister_lock(d->lister);
	if (directory_find_locked(d, l, index, &now)) {
		listing_resolve(d->listing, now, size, mtime_known, mtime_ns);
		directory_unsaved_locked(d, false);
	}
	lister_unlock(d->lister);
}

void directory_unresolve(struct directory *d, const char *name)
{
	uint32_t index;

	lister_lock(d->lister);
	if (d->listing && listing_find(d->listing, name, &index)) {
		listing_unresolve(d->listing, index);
		directory_unsaved_locked(d, false);
	}
	lister_unlock(d->lister);
}

void directory_expire(struct directory *d)
{
	lister_lock(d->lister);
	d->expired_ns = clock_now();
	d->quiet_ns = 0;
	lister_unlock(d->lister);
}

char *directory_cause(struct directory *d)
{
	char *cause;

	lister_lock(d->lister);
	cause = g_strdup(d->cause);
	lister_unlock(d->lister);
	return cause;
}

bool directory_is_refusal(const GError *error)
{
	return g_error_matches(error, FETCH_ERROR, FETCH_PROTOCOL) ||
	       g_error_matches(error, FETCH_ERROR, FETCH_DENIED) ||
	       g_error_matches(error, FETCH_ERROR, FETCH_MISSING) ||
	       g_error_matches(error, LOCAL_ERROR, ELOOP);
}

void directory_failed_locked(struct directory *d, const GError *error)
{
	struct lister *l = d->lister;
	unsigned quiet_ms = MIN(l->options.ttl_ms, QUIET_MS);

	l->errors++;
	g_free(d->cause);
	d->cause = g_strdup(error->message);
	d->refused = directory_is_refusal(error);
	d->quiet_ns = clock_now() + (int64_t)quiet_ms * 1000000;
}

void lister_reached_locked(struct lister *l, const GError *error)
{
	if (g_error_matches(error, FETCH_ERROR, FETCH_CANCELLED))
		return;
	l->down = g_error_matches(error, FETCH_ERROR, FETCH_UNREACHABLE) ||
	          g_error_matches(error, FETCH_ERROR, FETCH_TIMEOUT);
	if (l->down)
		l->down_until_ns = clock_now() + DOWN_NS;
}
