/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Exact attributes of entries that the listing has only roughly: one request each. If entries are
 * requested in order, the next ones are requested in parallel. */
#include <string.h>
#include <sys/stat.h>
#include "fetch/list/lister_private.h"

#define SIBLINGS_MAX 64

static void stat_request_done(struct source_request *r, const GError *error);

static struct stat_request *stat_request_new_locked(struct directory *d,
                                                    const struct listing_entry *e)
        REQUIRES(lister_locked)
{
	struct stat_request *a = g_new0(struct stat_request, 1);
	const char *name = listing_name(d->listing, e);

	a->directory = directory_ref(d);
	a->ino = e->ino;
	a->listed_hash = e->listed_hash;
	a->path = d->path[0] ? g_strconcat(d->path, "/", name, NULL) : g_strdup(name);
	a->name = a->path + strlen(a->path) - strlen(name);
	a->request.base.path = a->path;
	a->request.base.done = stat_request_done;
	a->request.listed = e->size;
	a->request.listed_ns = e->flags & LISTING_MTIME_KNOWN ? e->mtime_ns : 0;
	a->link.data = a;
	d->attributes->asked = g_list_concat(&a->link, d->attributes->asked);
	return a;
}

static bool attributes_asked_locked(const struct directory *d, uint64_t ino) REQUIRES(lister_locked)
{
	for (GList *l = d->attributes->asked; l; l = l->next)
		if (((struct stat_request *)l->data)->ino == ino)
			return true;
	return false;
}

static bool attributes_wanted_locked(const struct directory *d, const struct listing_entry *e)
        REQUIRES(lister_locked)
{
	return S_ISREG(e->mode) && !(e->flags & LISTING_SIZE_EXACT) &&
	       !attributes_asked_locked(d, e->ino);
}

struct stat_request *attributes_plan_locked(struct directory *d, uint32_t index)
{
	struct stat_request *chain = NULL, **tail = &chain;
	uint32_t from, to;

	walkahead_next(&d->attributes->walk, index, listing_count(d->listing), SIBLINGS_MAX, &from,
	               &to);
	for (uint32_t n = index; n < to || n == index; n = MAX(n + 1, from)) {
		const struct listing_entry *e = listing_at(d->listing, n);

		if (!attributes_wanted_locked(d, e))
			continue;
		*tail = stat_request_new_locked(d, e);
		tail = &(*tail)->next;
	}
	if (chain)
		d->lister->submitting++;
	return chain;
}

void attributes_submit(struct lister *l, struct stat_request *chain)
{
	if (chain == NULL)
		return;
	for (struct stat_request *a = chain, *next; a; a = next) {
		next = a->next;
		source_stat(l->source, &a->request);
	}
	lister_submitted(l);
}

/* The entry may have been replaced since the request. */
static bool attributes_find_locked(const struct stat_request *a, uint32_t *index)
        REQUIRES(lister_locked)
{
	struct directory *d = a->directory;
	const struct listing_entry *e;

	if (d->listing == NULL || !listing_find(d->listing, a->name, index))
		return false;
	e = listing_at(d->listing, *index);
	return e->ino == a->ino && e->listed_hash == a->listed_hash && S_ISREG(e->mode);
}

static void attributes_arrived_locked(struct stat_request *a) REQUIRES(lister_locked)
{
	struct directory *d = a->directory;
	const struct source_stat *r = &a->request;
	uint32_t index;

	if (!attributes_find_locked(a, &index))
		return;
	listing_resolve(d->listing, index, r->size, r->mtime_known, r->mtime_ns);
	directory_unsaved_locked(d, false);
}

static void stat_request_done(struct source_request *r, const GError *error)
{
	struct stat_request *a = (struct stat_request *)r;
	struct directory *d = a->directory;
	struct lister *l = d->lister;
	struct listing *before = NULL;
	GArray *answers = answers_new();
	uint32_t index;

	lister_lock(l);
	lister_reached_locked(l, error);
	l->attributes++;
	if (g_error_matches(error, FETCH_ERROR, FETCH_DIRECTORY) &&
	    (!attributes_find_locked(a, &index) || (before = directory_found_locked(d, index))))
		error = NULL; /* the entry is a directory, or was replaced: no failure */
	else if (error) {
		l->errors++;
		g_free(d->cause);
		d->cause = g_strdup(error->message);
	} else {
		attributes_arrived_locked(a);
	}
	d->attributes->asked = g_list_remove_link(d->attributes->asked, &a->link);
	answers_take_locked(answers, d, a->ino, fetch_error_errno(error, true), 0);
	lister_unlock(l);
	if (error)
		lister_tell(error, answers->len > 0, "attributes of", a->path);
	answers_give(answers);
	listing_unref(before);
	directory_unref(d);
	g_free(a->path);
	g_free(a);
}
