/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Directories that the source lists no more: their stored listings go, or a source whose names
 * change would fill the store with them. Those of local ones stay, and of what was moved out of
 * one: a removal or a rename in a directory has made it a local one. */
#include <sys/stat.h>
#include "fetch/list/lister_private.h"

struct unlisting {
	struct pool_job job;
	struct lister *lister;
	GArray *inos; /* of uint64_t, owned: still to be dropped */
};

void directory_unlist(struct directory *d)
{
	struct lister *l = d->lister;

	lister_lock(l);
	d->unlisted = true;
	lister_unlock(l);
	store_listing_drop(l->store, d->ino);
}

static void unlist_one(struct lister *l, uint64_t ino)
{
	struct directory *d = l->options.known ? l->options.known(l->options.user, ino) : NULL;

	if (d)
		directory_unlist(d);
	else
		store_listing_drop(l->store, ino);
	directory_unref(d);
}

static void below_add(struct lister *l, uint64_t ino, GArray *inos)
{
	g_autoptr(GBytes) bytes = store_listing_load(l->store, ino);
	struct listing *listing = bytes ? listing_from_bytes(bytes, NULL) : NULL;

	for (uint32_t n = 0; listing && n < listing_count(listing); n++) {
		const struct listing_entry *e = listing_at(listing, n);

		if (S_ISDIR(e->mode))
			g_array_append_val(inos, e->ino);
	}
	listing_unref(listing);
}

static bool is_stopped(struct lister *l)
{
	bool stopped;

	lister_lock(l);
	stopped = l->stopped;
	lister_unlock(l);
	return stopped;
}

static void unlisting_run(struct pool_job *job)
{
	struct unlisting *u = (struct unlisting *)((char *)job - offsetof(struct unlisting, job));

	while (u->inos->len > 0 && !is_stopped(u->lister)) {
		uint64_t ino = g_array_index(u->inos, uint64_t, u->inos->len - 1);

		g_array_set_size(u->inos, u->inos->len - 1);
		below_add(u->lister, ino, u->inos);
		unlist_one(u->lister, ino);
	}
	g_array_unref(u->inos);
	g_free(u);
}

void lister_unlist(struct lister *l, GArray *inos)
{
	struct unlisting *u = g_new0(struct unlisting, 1);

	u->job.run = unlisting_run;
	u->lister = l;
	u->inos = inos;
	pool_submit(l->disk, &u->job);
}
