/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include "fetch/list/lister_private.h"

struct lister *lister_new(struct store *store, struct source *source, struct pool *disk,
                          struct alarm_clock *clock, const struct lister_options *options)
{
	struct lister *l = g_new0(struct lister, 1);

	l->store = store;
	l->source = source;
	l->disk = disk;
	l->clock = clock;
	l->options = *options;
	if (l->options.wait_ms == 0)
		l->options.wait_ms = 30000;
	mutex_init(&l->lock, RANK_LISTER);
	condition_init(&l->changed);
	g_queue_init(&l->waiters);
	g_queue_init(&l->unsaved);
	l->deadline.ring = lister_waits_expire;
	l->idle.ring = lister_save_idle;
	l->save_job.run = lister_save_run;
	return l;
}

void lister_stop(struct lister *l)
{
	lister_lock(l);
	l->stopped = true;
	while (l->submitting > 0)
		condition_wait(&l->changed, &l->lock);
	lister_unlock(l);
	alarm_stop(l->clock, &l->deadline);
	alarm_stop(l->clock, &l->idle);
}

void lister_free(struct lister *l) UNSHARED
{
	if (l == NULL)
		return;
	lister_stop(l);
	g_assert(l->waiters.length == 0);
	lister_save_all(l);
	condition_destroy(&l->changed);
	mutex_destroy(&l->lock);
	g_free(l);
}

bool stale_will_do_locked(const struct directory *d)
{
	return d->listing && d->overlay && (d->lister->down || d->lister->stopped);
}

static int want(struct directory *d, struct lister_wait *w, bool any, struct listing **listing)
{
	struct lister *l = d->lister;
	struct refresh *refresh = NULL;
	int result = -EINPROGRESS;
	bool fresh;

	if (w->since_ns == 0)
		w->since_ns = clock_now();
	lister_lock(l);
	w->after_ns = any ? INT64_MIN : directory_after_locked(d, w->since_ns);
	fresh = any ? d->listing && d->overlay : directory_fresh_locked(d, w->since_ns);
	if (!fresh && !d->refreshing && !l->stopped)
		refresh = refresh_new_locked(d);
	if (fresh || stale_will_do_locked(d)) {
		*listing = listing_ref(d->listing);
		result = 0;
	} else if (d->refreshing) {
		lister_wait_add_locked(d, w, 0);
	} else {
		result = -EIO;
	}
	lister_unlock(l);
	if (refresh)
		refresh_submit(refresh);
	return result;
}

int lister_want(struct directory *d, struct lister_wait *w, struct listing **listing)
{
	return want(d, w, false, listing);
}

int lister_want_stored(struct directory *d, struct lister_wait *w, struct listing **listing)
{
	return want(d, w, true, listing);
}

int lister_want_attributes(struct directory *d, struct listing *l, uint32_t index,
                           struct lister_wait *w)
{
	struct lister *lister = d->lister;
	struct stat_request *chain = NULL;
	const struct listing_entry *e = NULL;
	uint32_t now;
	int result = -EINPROGRESS;

	lister_lock(lister);
	if (directory_find_locked(d, l, index, &now))
		e = listing_at(d->listing, now);
	if (e == NULL) {
		result = -ENOENT;
	} else if (!S_ISREG(e->mode) || (e->flags & LISTING_SIZE_EXACT)) {
		result = 0;
	} else if (lister->stopped) {
		result = -EIO;
	} else {
		if (d->attributes == NULL)
			d->attributes = g_new0(struct attributes, 1);
		chain = attributes_plan_locked(d, now);
		lister_wait_add_locked(d, w, e->ino);
	}
	lister_unlock(lister);
	attributes_submit(lister, chain);
	return result;
}

void lister_tell(const GError *error, bool waited, const char *what, const char *path)
{
	bool news = waited && !g_error_matches(error, FETCH_ERROR, FETCH_CANCELLED);

	g_log(G_LOG_DOMAIN, news ? G_LOG_LEVEL_WARNING : G_LOG_LEVEL_DEBUG, "%s /%s: %s", what,
	      path, error->message);
}

bool lister_cancel(struct lister *l, struct lister_wait *w)
{
	bool waits;

	lister_lock(l);
	waits = w->directory != NULL;
	if (waits)
		lister_wait_remove_locked(w);
	lister_unlock(l);
	return waits;
}

void lister_counters(struct lister *l, struct lister_counters *out)
{
	lister_lock(l);
	*out = (struct lister_counters){
	        .listings = l->listings,
	        .listings_unchanged = l->listings_unchanged,
	        .attributes = l->attributes,
	        .errors = l->errors,
	        .waits = l->waits,
	        .timeouts = l->timeouts,
	        .source_down = l->down,
	};
	lister_unlock(l);
}

void lister_foreach_wait(struct lister *l, void (*fn)(const struct lister_wait_info *, void *),
                         void *user)
{
	g_autoptr(GArray) copy = g_array_new(FALSE, FALSE, sizeof(struct lister_wait_info));

	lister_lock(l);
	for (GList *link = l->waiters.head; link; link = link->next) {
		const struct lister_wait *w = link->data;
		struct lister_wait_info info = {
		        .path = g_strdup(w->directory->path),
		        .pid = w->pid,
		        .since_ns = w->since_ns,
		        .until_ns = w->until_ns,
		        .attributes = w->ino != 0,
		};

		g_array_append_val(copy, info);
	}
	lister_unlock(l);
	for (guint n = 0; n < copy->len; n++) {
		struct lister_wait_info *info = &g_array_index(copy, struct lister_wait_info, n);

		fn(info, user);
		g_free((char *)info->path);
	}
}
