/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Answers of the source that remove names are confirmed before they are accepted. */
#include <string.h>
#include <sys/stat.h>
#include "fetch/list/lister_private.h"

/* Whether the answer makes names disappear, which a server may do once in error: the directory is
 * missing, or it is refused (which permits rmdir), or its listing is empty, while the previous one
 * was not or there is none. Each kind is requested once more, see refresh_answered(). */
static enum removal refresh_removal(const struct refresh *a, const GError *error)
{
	struct listing *listing = a->request.listing, *previous = a->request.previous;

	if (g_error_matches(error, FETCH_ERROR, FETCH_MISSING))
		return REMOVAL_MISSING;
	if (error)
		return directory_is_refusal(error) ? REMOVAL_REFUSED : REMOVAL_NONE;
	if (listing == previous || listing_count(listing) > 0)
		return REMOVAL_NONE;
	return previous == NULL || listing_count(previous) > 0 ? REMOVAL_EMPTY : REMOVAL_NONE;
}

/* false: the lister is stopped and sends no more requests. */
static bool refresh_send(struct refresh *a, struct source_list *request)
{
	struct lister *l = a->directory->lister;
	bool send;

	lister_lock(l);
	send = !l->stopped;
	l->submitting += send;
	lister_unlock(l);
	if (send) {
		source_list(l->source, request);
		lister_submitted(l);
	}
	return send;
}

/* The directory vanished at the source: its listing becomes empty, its local names stay. */
static void refresh_empty(struct refresh *a)
{
	a->request.listing = listing_builder_finish(listing_builder_new(), "", clock_realtime(),
	                                            a->request.previous);
	refresh_confirmed(a, NULL);
}

/* The parent at the source is listed. The directory is gone if the listing lacks it, or if the
 * parent is missing. */
static void refresh_parent_listed(struct source_request *r, const GError *error)
{
	struct refresh *a = (struct refresh *)((char *)r - offsetof(struct refresh, probe));
	struct listing *above = g_steal_pointer(&a->probe.listing);
	g_autofree char *name = g_path_get_basename(a->directory->path);
	g_autoptr(GError) refusal = g_steal_pointer(&a->error);
	bool gone = g_error_matches(error, FETCH_ERROR, FETCH_MISSING);
	uint32_t index;

	if (above)
		gone = !listing_find(above, name, &index) ||
		       !S_ISDIR(listing_at(above, index)->mode);
	listing_unref(above);
	if (gone)
		refresh_empty(a);
	else
		refresh_confirmed(a, refusal);
}

/* A failure that may pass says nothing about the directory. */
static enum vanished refresh_check_vanished(struct refresh *a, const GError *error)
{
	const struct lister_options *o = &a->directory->lister->options;

	if (!o->vanished || *a->directory->path == '\0' ||
	    (!g_error_matches(error, FETCH_ERROR, FETCH_MISSING) &&
	     !g_error_matches(error, FETCH_ERROR, FETCH_PROTOCOL)))
		return VANISHED_NOT;
	return o->vanished(o->user, a->directory);
}

/* The source did not list the directory: has it vanished? */
static void refresh_refused(struct refresh *a, const GError *error)
{
	enum vanished vanished = refresh_check_vanished(a, error);

	if (vanished == VANISHED_ASK) {
		a->error = g_error_copy(error);
		a->elsewhere = g_path_get_dirname(a->directory->path);
		if (strcmp(a->elsewhere, ".") == 0)
			*a->elsewhere = '\0';
		a->probe.base.path = a->elsewhere;
		a->probe.base.done = refresh_parent_listed;
		if (refresh_send(a, &a->probe))
			return;
		g_clear_error(&a->error);
	}
	if (vanished == VANISHED)
		refresh_empty(a);
	else
		refresh_confirmed(a, error);
}

void refresh_answered(struct source_request *r, const GError *error)
{
	struct refresh *a = (struct refresh *)r;
	enum removal removal = refresh_removal(a, error);
	g_autoptr(GError) unconfirmed = NULL;

	if (removal & ~a->unconfirmed) {
		a->unconfirmed |= removal;
		listing_unref(g_steal_pointer(&a->request.listing));
		if (refresh_send(a, &a->request))
			return;
		unconfirmed = g_error_new(
		        FETCH_ERROR, FETCH_CANCELLED,
		        "/%s: unmounted before the source confirmed that names are gone",
		        a->directory->path);
		error = unconfirmed;
	}
	if (error)
		refresh_refused(a, error);
	else
		refresh_confirmed(a, NULL);
}
