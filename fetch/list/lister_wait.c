/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include "fetch/list/lister_private.h"

/* Inserts by deadline: nearly always at the end. */
static void lister_wait_enqueue_locked(struct lister *l, struct lister_wait *w)
        REQUIRES(lister_locked)
{
	GList *after = l->waiters.tail;

	while (after && ((struct lister_wait *)after->data)->until_ns > w->until_ns)
		after = after->prev;
	if (after)
		g_queue_insert_after_link(&l->waiters, after, &w->queue_link);
	else
		g_queue_push_head_link(&l->waiters, &w->queue_link);
}

void lister_wait_add_locked(struct directory *d, struct lister_wait *w, uint64_t ino)
{
	struct lister *l = d->lister;
	GList **list = ino ? &d->attributes->waiters : &d->waiters;

	w->directory = d;
	w->ino = ino;
	l->waits++;
	if (w->since_ns == 0)
		w->since_ns = clock_now();
	w->until_ns = w->since_ns + (int64_t)l->options.wait_ms * 1000000;
	w->link = (GList){.data = w};
	w->queue_link = (GList){.data = w};
	*list = g_list_concat(&w->link, *list);
	lister_wait_enqueue_locked(l, w);
	if (l->deadline_set && l->waiters.head != &w->queue_link)
		return;
	l->deadline_set = true; /* the alarm stays set: see fetch/fill/waiter.c */
	alarm_set(l->clock, &l->deadline, w->until_ns);
}

void lister_wait_remove_locked(struct lister_wait *w)
{
	struct directory *d = w->directory;
	GList **list = w->ino ? &d->attributes->waiters : &d->waiters;

	*list = g_list_remove_link(*list, &w->link);
	g_queue_unlink(&d->lister->waiters, &w->queue_link);
	w->directory = NULL;
}

GArray *answers_new(void)
{
	return g_array_new(FALSE, FALSE, sizeof(struct answer));
}

static void answer_add_locked(GArray *answers, struct lister_wait *w, int error)
        REQUIRES(lister_locked)
{
	struct directory *d = w->directory;
	struct answer a = {.wait = w, .error = error};

	/* an old listing is better than none, if the local names are known */
	if (w->ino == 0 && d->listing && d->overlay) {
		a.listing = listing_ref(d->listing);
		a.error = 0;
	}
	lister_wait_remove_locked(w);
	g_array_append_val(answers, a);
}

void answers_take_locked(GArray *answers, struct directory *d, uint64_t ino, int error,
                         int64_t begun_ns)
{
	GList *list = ino ? d->attributes->waiters : d->waiters;

	for (GList *l = list, *next; l; l = next) {
		struct lister_wait *w = l->data;

		next = l->next;
		if (w->ino == ino && (ino || w->after_ns <= begun_ns))
			answer_add_locked(answers, w, error);
	}
}

void answers_give(GArray *answers)
{
	for (guint n = 0; n < answers->len; n++) {
		struct answer *a = &g_array_index(answers, struct answer, n);

		a->wait->done(a->wait, a->listing, a->error); /* the wait may be freed now */
		listing_unref(a->listing);
	}
	g_array_unref(answers);
}

void lister_waits_expire(struct alarm *alarm)
{
	struct lister *l = (struct lister *)((char *)alarm - offsetof(struct lister, deadline));
	g_autoptr(GPtrArray) failed = /* references */
	        g_ptr_array_new_with_free_func((GDestroyNotify)directory_unref);
	GArray *answers = answers_new();
	int64_t now = clock_now();
	struct lister_wait *w;

	lister_lock(l);
	while ((w = g_queue_peek_head(&l->waiters)) && w->until_ns <= now) {
		struct directory *d = w->directory;

		if (!g_ptr_array_find(failed, d, NULL)) {
			g_ptr_array_add(failed, directory_ref(d));
			g_free(d->cause);
			d->cause = g_strdup_printf("/%s: no answer within %g s", d->path,
			                           l->options.wait_ms / 1e3);
			l->errors++;
		}
		answer_add_locked(answers, w, EIO);
		l->timeouts++;
	}
	l->deadline_set = w != NULL;
	if (w)
		alarm_set(l->clock, &l->deadline, w->until_ns);
	lister_unlock(l);
	for (guint n = 0; n < failed->len; n++) {
		g_autofree char *cause = directory_cause(failed->pdata[n]);

		g_warning("%s", cause);
	}
	answers_give(answers);
}
