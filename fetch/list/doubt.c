/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Answers of the source that remove names are confirmed before they are accepted. */
#include <string.h>
#include <sys/stat.h>
#include "fetch/list/lister_private.h"

/* Answers that make names disappear, and that a server may give once in error: a directory is empty
 * that was not known to be, is missing, or is not listed (which permits rmdir). */
static enum doubt asking_doubt(const struct refresh *a, const GError *error)
{
	struct listing *told = a->request.listing, *previous = a->request.previous;

	if (g_error_matches(error, FETCH_ERROR, FETCH_MISSING))
		return DOUBT_MISSING;
	if (error)
		return directory_is_refusal(error) ? DOUBT_REFUSED : DOUBT_NONE;
	if (told == previous || listing_count(told) > 0)
		return DOUBT_NONE;
	return previous == NULL || listing_count(previous) > 0 ? DOUBT_EMPTY : DOUBT_NONE;
}

/* false: the lister is stopped and sends no more requests. */
static bool asking_send(struct refresh *a, struct source_list *request)
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
static void asking_gone(struct refresh *a)
{
	a->request.listing = listing_builder_finish(listing_builder_new(), "", clock_realtime(),
	                                            a->request.previous);
	refresh_told(a, NULL);
}

/* The parent at the source is listed. The directory is gone if the listing lacks it, or if the
 * parent is missing. */
static void asking_told_above(struct source_request *r, const GError *error)
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
		asking_gone(a);
	else
		refresh_told(a, refusal);
}

/* A failure that may pass says nothing about the directory. */
static enum vanished asking_vanished(struct refresh *a, const GError *error)
{
	const struct lister_options *o = &a->directory->lister->options;

	if (!o->vanished || *a->directory->path == '\0' ||
	    (!g_error_matches(error, FETCH_ERROR, FETCH_MISSING) &&
	     !g_error_matches(error, FETCH_ERROR, FETCH_PROTOCOL)))
		return VANISHED_NOT;
	return o->vanished(o->user, a->directory);
}

/* The source did not list the directory: has it vanished? */
static void asking_refused(struct refresh *a, const GError *error)
{
	enum vanished vanished = asking_vanished(a, error);

	if (vanished == VANISHED_ASK) {
		a->error = g_error_copy(error);
		a->elsewhere = g_path_get_dirname(a->directory->path);
		if (strcmp(a->elsewhere, ".") == 0)
			*a->elsewhere = '\0';
		a->probe.base.path = a->elsewhere;
		a->probe.base.done = asking_told_above;
		if (asking_send(a, &a->probe))
			return;
		g_clear_error(&a->error);
	}
	if (vanished == VANISHED)
		asking_gone(a);
	else
		refresh_told(a, error);
}

void refresh_answered(struct source_request *r, const GError *error)
{
	struct refresh *a = (struct refresh *)r;
	enum doubt doubt = asking_doubt(a, error);
	g_autoptr(GError) unsettled = NULL;

	if (doubt & ~a->doubted) {
		a->doubted |= doubt;
		listing_unref(g_steal_pointer(&a->request.listing));
		if (asking_send(a, &a->request))
			return;
		unsettled =
		        g_error_new(FETCH_ERROR, FETCH_CANCELLED,
		                    "/%s: the source does not confirm that the directory is empty",
		                    a->directory->path);
		error = unsettled;
	}
	if (error)
		asking_refused(a, error);
	else
		refresh_told(a, NULL);
}
