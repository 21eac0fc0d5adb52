/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include "fetch/fill/fill_private.h"

/* Inserts by deadline: nearly always at the end. */
static void waiter_enqueue_locked(struct fill *f, struct fill_wait *w) REQUIRES(fill_locked)
{
	GList *after = f->waiters.tail;

	while (after && ((struct fill_wait *)after->data)->until_ns > w->until_ns)
		after = after->prev;
	if (after)
		g_queue_insert_after_link(&f->waiters, after, &w->queue_link);
	else
		g_queue_push_head_link(&f->waiters, &w->queue_link);
}

void waiter_add_locked(struct content *c, struct fill_wait *w, uint64_t missing)
{
	struct fill *f = c->fill;

	w->content = c;
	w->missing = missing;
	w->error = 0;
	w->denied = false;
	__atomic_add_fetch(&f->waits, 1, __ATOMIC_RELAXED);
	if (w->since_ns == 0)
		w->since_ns = clock_now();
	w->until_ns = w->since_ns + (int64_t)f->options.wait_ms * 1000000;
	w->link = (GList){.data = w};
	w->queue_link = (GList){.data = w};
	c->waiters = g_list_concat(&w->link, c->waiters);
	waiter_enqueue_locked(f, w);
	if (f->deadline_set && f->waiters.head != &w->queue_link)
		return;
	/* The alarm stays set when the wait ends in time: a needless ring every wait_ms is cheaper
	 * than a wake-up of the clock for each wait. */
	f->deadline_set = true;
	alarm_set(f->clock, &f->deadline, w->until_ns);
}

void waiter_remove_locked(struct fill_wait *w)
{
	struct content *c = w->content;

	c->waiters = g_list_remove_link(c->waiters, &w->link);
	g_queue_unlink(&c->fill->waiters, &w->queue_link);
	w->content = NULL;
}

static void waiter_ready_locked(struct fill_wait *w, int error, GList **ready) REQUIRES(fill_locked)
{
	waiter_remove_locked(w);
	w->error = error;
	*ready = g_list_concat(&w->link, *ready);
}

/* The chunks of its range, which may run past the end of the file. */
static void waiter_chunks(struct content *c, const struct fill_wait *w, uint64_t *first,
                          uint64_t *last)
{
	unsigned shift = content_shift(c);
	uint64_t size = content_size(c);

	*first = w->offset >> shift;
	*last = (w->offset + MIN(w->length, size - w->offset) - 1) >> shift;
}

void waiters_wake_locked(struct content *c, uint64_t chunk, GList **ready)
{
	uint64_t first, last;

	for (GList *l = c->waiters, *next; l; l = next) {
		struct fill_wait *w = l->data;

		next = l->next;
		waiter_chunks(c, w, &first, &last);
		if (chunk < first || chunk > last)
			continue;
		g_assert(w->missing > 0);
		if (--w->missing == 0)
			waiter_ready_locked(w, 0, ready);
	}
}

void waiters_fail_locked(struct content *c, const struct transfer *t, const GError *cause,
                         GList **ready)
{
	uint64_t first, last;

	for (GList *l = c->waiters, *next; l; l = next) {
		struct fill_wait *w = l->data;

		next = l->next;
		waiter_chunks(c, w, &first, &last);
		if (!transfer_holds_any_locked(t, first, last))
			continue;
		w->denied = cause->domain == DENIAL_ERROR;
		waiter_ready_locked(w, fetch_error_errno(cause, false), ready);
	}
}

void waiters_answer(GList *ready)
{
	while (ready) {
		struct fill_wait *w = ready->data;

		ready = ready->next; /* `w` may be gone after the call */
		w->done(w, w->error);
	}
}

/* Is a handler asked about a part of its range? Handlers have a deadline of their own. */
static bool waiter_asks_locked(const struct fill_wait *w) REQUIRES(fill_locked)
{
	struct content *c = w->content;
	uint64_t first, last;

	waiter_chunks(c, w, &first, &last);
	for (GList *l = c->transfers; l; l = l->next) {
		const struct transfer *t = l->data;

		if (__atomic_load_n(&t->read.handler_pending, __ATOMIC_RELAXED) &&
		    transfer_holds_any_locked(t, first, last))
			return true;
	}
	return false;
}

/* Logs and records the waits that expired: a line for each content, not for each waiter. */
static void expired_tell(struct fill *f, GPtrArray *contents)
{
	for (guint n = 0; n < contents->len; n++) {
		struct content *c = contents->pdata[n];
		g_autofree char *url = source_describe(f->source, c->remote);
		g_autofree char *cause =
		        g_strdup_printf("%s: no answer within %g s", url, f->options.wait_ms / 1e3);

		g_warning("%s", cause);
		content_failed(c, EIO, cause);
	}
}

void waiters_expire(struct alarm *a)
{
	struct fill *f = (struct fill *)((char *)a - offsetof(struct fill, deadline));
	g_autoptr(GPtrArray) contents = /* references */
	        g_ptr_array_new_with_free_func((GDestroyNotify)content_unref);
	GList *ready = NULL;
	int64_t now = clock_now();
	struct fill_wait *w;

	fill_lock(f);
	while ((w = g_queue_peek_head(&f->waiters)) && w->until_ns <= now) {
		struct content *c = w->content;

		if (waiter_asks_locked(w)) {
			w->until_ns = now + (int64_t)f->options.wait_ms * 1000000;
			g_queue_unlink(&f->waiters, &w->queue_link);
			g_queue_push_tail_link(&f->waiters, &w->queue_link);
			continue;
		}
		if (!g_ptr_array_find(contents, c, NULL))
			g_ptr_array_add(contents, content_ref(c));
		waiter_ready_locked(w, EIO, &ready);
		__atomic_add_fetch(&f->timeouts, 1, __ATOMIC_RELAXED);
	}
	f->deadline_set = w != NULL;
	if (w)
		alarm_set(f->clock, &f->deadline, w->until_ns);
	fill_unlock(f);
	__atomic_add_fetch(&f->errors, contents->len, __ATOMIC_RELAXED);
	expired_tell(f, contents);
	waiters_answer(ready);
}
