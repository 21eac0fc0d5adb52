/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Refreshes a directory's listing: loads it from the store once, then asks the source if it is
 * stale. */
#include <errno.h>
#include "fetch/list/lister_private.h"
#include "fetch/store/tree/tree.h"

static void refresh_load(struct pool_job *job);
static void refresh_witnessed(struct source_request *r, const GError *error);

struct refresh *refresh_new_locked(struct directory *d)
{
	struct refresh *a = g_new0(struct refresh, 1);

	d->refreshing = true;
	a->directory = directory_ref(d);
	a->job.run = refresh_load;
	a->request.base.path = d->path;
	a->request.base.done = refresh_answered;
	a->witness.base.path = d->path;
	a->witness.base.done = refresh_witnessed;
	d->lister->submitting++;
	return a;
}

static void refresh_free(struct refresh *a)
{
	g_clear_error(&a->error);
	listing_unref(a->request.previous);
	directory_unref(a->directory);
	g_free(a->elsewhere);
	g_free(a);
}

void lister_submitted(struct lister *l)
{
	lister_lock(l);
	l->submitting--;
	condition_broadcast(&l->changed);
	lister_unlock(l);
}

static void refresh_ask(struct refresh *a)
{
	struct directory *d = a->directory;
	struct lister *l = d->lister;

	lister_lock(l);
	a->request.previous = d->listing ? listing_ref(d->listing) : NULL;
	a->begun_ns = clock_now();
	d->refused = false; /* that was the previous answer */
	lister_unlock(l);
	source_list(l->source, &a->request);
}

void refresh_submit(struct refresh *a)
{
	struct lister *l = a->directory->lister;
	bool looked;

	lister_lock(l);
	looked = a->directory->looked;
	lister_unlock(l);
	if (looked)
		refresh_ask(a);
	else
		pool_submit(l->disk, &a->job);
	lister_submitted(l);
}

static struct listing *listing_load(struct directory *d)
{
	g_autoptr(GBytes) bytes = store_listing_load(d->lister->store, d->ino);
	g_autoptr(GError) error = NULL;
	struct listing *listing;

	if (bytes == NULL)
		return NULL;
	listing = listing_from_bytes(bytes, &error);
	if (listing == NULL)
		g_message("the stored listing of /%s is unusable: %s", d->path, error->message);
	return listing;
}

struct loading {
	const struct directory *directory;
	struct overlay *overlay;
	struct listing *listing; /* borrowed; NULL: none */
};

static void overlay_found(void *user, const char *name, uint32_t type)
{
	const struct loading *l = user;
	const struct lister_options *o = &l->directory->lister->options;
	uint32_t index;
	bool listed = l->listing && listing_find(l->listing, name, &index);

	overlay_load(l->overlay, name, type, listed ? listing_at(l->listing, index)->cookie : 0,
	             o->place ? o->place(o->user, directory_place_key(l->directory, name)) : 0);
}

static void overlay_gone(void *user, const char *name)
{
	const struct loading *l = user;

	overlay_gone_add(l->overlay, name);
}

/* A name that goes meanwhile may look like one whose origin is lost. */
#define SCANS 4

static int names_scan(struct loading *l, const char *path)
{
	const struct directory *d = l->directory;
	int err = -ESTALE;

	for (int n = 0; n < SCANS && err == -ESTALE; n++) {
		overlay_free(l->overlay);
		l->overlay = overlay_new();
		err = tree_scan(d->lister->store, path, d->ino, overlay_found, overlay_gone, l);
	}
	return err;
}

/* NULL: the local names could not be loaded, see *error. */
static struct overlay *names_load(struct directory *d, struct listing *listing, GError **error)
{
	const struct lister_options *o = &d->lister->options;
	g_autofree char *path = o->local_path ? o->local_path(o->user, d) : g_strdup(d->path);
	struct loading loading = {.directory = d, .listing = listing};
	int err = path ? names_scan(&loading, path) : -ESTALE;

	if (err == 0) {
		overlay_loaded(loading.overlay);
		return loading.overlay;
	}
	bool specific = err == -ENOMEM || err == -ESTALE || err == -EMFILE || err == -ENFILE;
	g_set_error(error, LOCAL_ERROR, specific ? -err : EIO, "in the store: %s",
	            g_strerror(-err));
	overlay_free(loading.overlay);
	return NULL;
}

static unsigned names_missed(struct directory *d)
{
	unsigned missed;

	lister_lock(d->lister);
	missed = d->missed;
	lister_unlock(d->lister);
	return missed;
}

/* false: names changed since `missed`. */
static bool overlay_install(struct directory *d, struct overlay *overlay, unsigned missed)
{
	bool whole;

	lister_lock(d->lister);
	whole = d->missed == missed;
	if (whole)
		d->overlay = overlay;
	lister_unlock(d->lister);
	return whole;
}

/* Names may change in the store after they were looked at, and before changes are noted here: they
 * are loaded again. */
static bool names_load_whole(struct directory *d, struct listing *listing, GError **error)
{
	for (;;) {
		unsigned missed = names_missed(d);
		struct overlay *overlay = names_load(d, listing, error);

		if (overlay == NULL || overlay_install(d, overlay, missed))
			return overlay != NULL;
		overlay_free(overlay);
	}
}

static void refresh_load(struct pool_job *job)
{
	struct refresh *a = (struct refresh *)((char *)job - offsetof(struct refresh, job));
	struct directory *d = a->directory;
	struct lister *l = d->lister;
	g_autoptr(GError) error = NULL;
	struct listing *listing = d->local ? NULL : listing_load(d);
	struct shape shape = listing ? listing_shape(listing) : (struct shape){0};
	bool loaded = names_load_whole(d, listing, &error);
	GArray *answers = answers_new();
	bool ask, waited;

	lister_lock(l);
	waited = d->waiters != NULL;
	if (loaded) {
		d->looked = true;
		if (d->listing == NULL) {
			d->listing = g_steal_pointer(&listing);
			/* a listing of a mount with other options is revalidated */
			if (d->listing &&
			    !source_shape_is(l->source, listing_validator(d->listing)))
				d->expired_ns = clock_now();
			d->shape = shape;
		}
	} else {
		/* `looked` stays unset: the next request loads again */
		l->errors++;
		g_free(d->cause);
		d->cause = g_strdup(error->message);
	}
	ask = d->looked && !l->stopped && !directory_fresh_locked(d, clock_now());
	d->refreshing = ask;
	l->submitting += ask;
	if (!ask || stale_will_do_locked(d))
		answers_take_locked(answers, d, 0, error ? fetch_error_errno(error, true) : EIO,
		                    INT64_MAX);
	else if (d->listing)
		answers_take_locked(answers, d, 0, 0, INT64_MIN); /* lister_want_stored() */
	lister_unlock(l);
	if (error)
		lister_tell(error, waited, "listing", d->path);
	listing_unref(listing);
	answers_give(answers);
	if (ask) {
		refresh_ask(a);
		lister_submitted(l);
	} else {
		refresh_free(a);
	}
}

/* Installs a new listing; *before gets the replaced one, which the caller frees. false: it is the
 * same. */
static bool refresh_accept_locked(struct refresh *a, struct listing **before)
        REQUIRES(lister_locked)
{
	struct directory *d = a->directory;
	struct listing *listing = a->request.listing;
	bool anew = listing != a->request.previous;
	bool stored = !d->unlisted;

	d->unlisted = false;
	d->lister->listings++;
	d->quiet_ns = 0;
	d->asked_ns = a->begun_ns;
	g_clear_pointer(&d->cause, g_free);
	if (!anew) {
		d->lister->listings_unchanged++;
		/* an entry may have been found to be a directory meanwhile */
		listing_set_checked(d->listing ? d->listing : listing, clock_realtime());
		listing_unref(listing);
		if (!stored && d->listing)
			directory_unsaved_locked(d, true);
	} else {
		*before = d->listing;
		d->listing = listing;
		d->shape = a->shape;
		directory_relisted_locked(d);
		d->untold++;
	}
	a->request.listing = NULL;
	return anew;
}

/* Ends a refresh, on a thread of the disk pool, since changed() reads the store. `refreshing` is
 * set until then: one refresh per directory at a time. Frees `a`. */
static void refresh_finish(struct pool_job *job)
{
	struct refresh *a = (struct refresh *)((char *)job - offsetof(struct refresh, job));
	const GError *error = a->error;
	struct directory *d = a->directory;
	struct lister *l = d->lister;
	struct listing *before = NULL, *after = NULL;
	struct refresh *next = NULL;
	GArray *answers = answers_new();
	bool waited, all, anew = false;

	lister_lock(l);
	waited = d->waiters != NULL;
	if (error) {
		directory_failed_locked(d, error);
	} else {
		anew = refresh_accept_locked(a, &before);
		after = listing_ref(d->listing);
	}
	lister_unlock(l);

	if (error)
		lister_tell(error, waited, "listing", d->path);
	if (a->refuted)
		mistyped_refute(d);
	if (after != a->request.previous && after && l->options.changed)
		l->options.changed(l->options.user, d, before, after);

	lister_lock(l);
	if (anew)
		directory_told_locked(d, true);
	d->refreshing = false;
	all = l->stopped || stale_will_do_locked(d);
	answers_take_locked(answers, d, 0, fetch_error_errno(error, true),
	                    all ? INT64_MAX : a->begun_ns);
	if (d->waiters) /* waits that need a later answer than this one */
		next = refresh_new_locked(d);
	lister_unlock(l);
	answers_give(answers);
	if (next)
		refresh_submit(next);
	listing_unref(before);
	listing_unref(after);
	listing_unref(a->request.listing);
	refresh_free(a);
}

static void refresh_end(struct refresh *a, const GError *error)
{
	a->error = error ? g_error_copy(error) : NULL;
	a->job.run = refresh_finish;
	pool_submit(a->directory->lister->disk, &a->job);
}

static void refresh_witnessed(struct source_request *r, const GError *error)
{
	struct refresh *a = (struct refresh *)((char *)r - offsetof(struct refresh, witness));
	g_autoptr(GError) refusal = g_steal_pointer(&a->error);

	a->refuted = error == NULL;
	refresh_end(a, refusal);
}

/* Asks the source whether the directory is a file. false: no doubt. */
static bool refresh_check_kind(struct refresh *a, const GError *error)
{
	struct lister *l = a->directory->lister;
	bool asks;

	lister_lock(l);
	asks = !l->stopped && mistyped_suspect_locked(a->directory, error);
	l->submitting += asks;
	lister_unlock(l);
	if (asks) {
		a->error = g_error_copy(error);
		source_stat(l->source, &a->witness);
		lister_submitted(l);
	}
	return asks;
}

/* `done` of the probe of a directory some levels below. Its listing has the same shape: a loop.
 * Another shape, or a refusal, such as a missing directory: a copy that ends, so the listing of
 * `request` is accepted. Any other failure shows neither, and fails the refresh. */
static void refresh_probed(struct source_request *r, const GError *error)
{
	struct refresh *a = (struct refresh *)((char *)r - offsetof(struct refresh, probe));
	struct lister *l = a->directory->lister;
	struct shape deeper =
	        a->probe.listing ? listing_shape(a->probe.listing) : (struct shape){0};
	g_autoptr(GError) wrong = NULL;

	if (error && !directory_is_refusal(error))
		wrong = g_error_copy(error);
	else if (!error && shape_equal(&deeper, &a->shape))
		ancestry_error(a->directory, &wrong);
	listing_unref(a->probe.listing);
	lister_lock(l);
	lister_reached_locked(l, error);
	lister_unlock(l);
	refresh_end(a, wrong);
}

void refresh_confirmed(struct refresh *a, const GError *error)
{
	struct lister *l = a->directory->lister;
	bool anew = !error && a->request.listing != a->request.previous;
	enum ancestry ancestry = ANCESTRY_NONE;
	g_autoptr(GError) wrong = NULL;

	if (anew)
		a->shape = listing_shape(a->request.listing);
	lister_lock(l);
	lister_reached_locked(l, error);
	if (anew)
		ancestry =
		        directory_ancestry_locked(a->directory, &a->shape, &a->elsewhere, &wrong);
	if (ancestry == ANCESTRY_DOUBT && l->stopped)
		wrong = g_error_new(FETCH_ERROR, FETCH_CANCELLED, "the mount is going away");
	else if (ancestry == ANCESTRY_DOUBT)
		l->submitting++;
	lister_unlock(l);
	if (ancestry == ANCESTRY_DOUBT && !wrong) {
		a->probe.base.path = a->elsewhere;
		a->probe.base.done = refresh_probed;
		source_list(l->source, &a->probe);
		lister_submitted(l);
	} else if (!refresh_check_kind(a, error)) {
		refresh_end(a, wrong ? wrong : error);
	}
}
