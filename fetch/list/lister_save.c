/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Listings are stored in the background: a new one at once, one whose entries are resolved one by
 * one when the requests pause. */
#include "fetch/list/lister_private.h"

#define IDLE_NS INT64_C(1000000000)

static void save_start_locked(struct lister *l) REQUIRES(lister_locked)
{
	if (l->saving || l->stopped)
		return;
	l->saving = true;
	pool_submit(l->disk, &l->save_job);
}

void directory_unsaved_locked(struct directory *d, bool soon)
{
	struct lister *l = d->lister;

	if (d->untold)
		return; /* directory_told_locked() follows */
	if (!d->unsaved) {
		d->unsaved = true;
		g_queue_push_tail(&l->unsaved, directory_ref(d));
	}
	if (soon) {
		save_start_locked(l);
	} else if (!l->idle_set && !l->stopped) {
		l->idle_set = true;
		alarm_set(l->clock, &l->idle, clock_now() + IDLE_NS);
	}
}

void directory_told_locked(struct directory *d, bool soon)
{
	d->untold--;
	directory_unsaved_locked(d, soon);
}

void lister_save_idle(struct alarm *a)
{
	struct lister *l = (struct lister *)((char *)a - offsetof(struct lister, idle));

	lister_lock(l);
	l->idle_set = false;
	save_start_locked(l);
	lister_unlock(l);
}

static void directory_save(struct directory *d, struct listing *listing)
{
	g_autoptr(GBytes) bytes = listing_to_bytes(listing);
	int err = store_listing_save(d->lister->store, d->ino, bytes);

	if (err)
		g_warning("cannot store the listing of /%s: %s", d->path, g_strerror(-err));
}

void lister_save_all(struct lister *l)
{
	lister_lock(l);
	for (struct directory *d; (d = g_queue_pop_head(&l->unsaved));) {
		struct listing *listing = d->untold ? NULL : listing_ref(d->listing);
		bool unlisted = d->unlisted;

		d->unsaved = false;
		lister_unlock(l);
		if (listing && !unlisted)
			directory_save(d, listing);
		listing_unref(listing);
		lister_lock(l);
		unlisted = !unlisted && d->unlisted; /* meanwhile */
		lister_unlock(l);
		if (unlisted)
			store_listing_drop(l->store, d->ino);
		directory_unref(d);
		lister_lock(l);
	}
	l->saving = false;
	lister_unlock(l);
}

void lister_save_run(struct pool_job *job)
{
	lister_save_all((struct lister *)((char *)job - offsetof(struct lister, save_job)));
}
