/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/waitqueue.h"
#include <errno.h>
#include "fetch/base/lock.h"

struct waitqueue {
	struct alarm_clock *clock; /* borrowed */
	struct alarm alarm;
	struct mutex lock;
	GQueue waiting; /* of struct waitqueue_entry, by link */
	int64_t set_ns; /* when the alarm rings; 0: it is not set */
	bool closed;
};

static int64_t due_ns(const struct waitqueue_entry *w)
{
	return w->again_ns ? MIN(w->again_ns, w->until_ns) : w->until_ns;
}

/* Under the lock, so that two settings of the alarm keep their order. */
static void set_locked(struct waitqueue *r, int64_t at_ns) REQUIRES(r->lock)
{
	if (r->closed || (r->set_ns && r->set_ns <= at_ns))
		return;
	r->set_ns = at_ns;
	alarm_set(r->clock, &r->alarm, at_ns);
}

static void take_locked(struct waitqueue *r, struct waitqueue_entry *w, GQueue *out)
        REQUIRES(r->lock)
{
	g_queue_unlink(&r->waiting, &w->link);
	g_queue_push_tail_link(out, &w->link);
	w->waits = false;
}

/* No other thread has these entries. */
static void tell(GQueue *list, int64_t now_ns, int error)
{
	for (GList *link; (link = g_queue_pop_head_link(list));) {
		struct waitqueue_entry *w = link->data;
		w->done(w, error ? error : now_ns >= w->until_ns ? w->error : 0);
	}
}

static void ring(struct alarm *a)
{
	struct waitqueue *r = (struct waitqueue *)((char *)a - offsetof(struct waitqueue, alarm));
	int64_t now = clock_now();
	GQueue due = G_QUEUE_INIT;
	mutex_lock(&r->lock);
	r->set_ns = 0;
	for (GList *next, *link = r->waiting.head; link; link = next) {
		next = link->next;
		if (due_ns(link->data) <= now)
			take_locked(r, link->data, &due);
		else
			set_locked(r, due_ns(link->data));
	}
	mutex_unlock(&r->lock);
	tell(&due, now, 0);
}

struct waitqueue *waitqueue_new(struct alarm_clock *clock)
{
	struct waitqueue *r = g_new0(struct waitqueue, 1);
	r->clock = clock;
	r->alarm.ring = ring;
	mutex_init(&r->lock, RANK_WAITQUEUE);
	g_queue_init(&r->waiting);
	return r;
}

int waitqueue_enter(struct waitqueue *r, struct waitqueue_entry *w)
{
	if (clock_now() >= w->until_ns)
		return -w->error;
	mutex_lock(&r->lock);
	bool closed = r->closed;
	if (!closed) {
		w->link.data = w;
		w->waits = true;
		g_queue_push_tail_link(&r->waiting, &w->link);
		set_locked(r, due_ns(w));
	}
	mutex_unlock(&r->lock);
	return closed ? -EIO : 0;
}

bool waitqueue_leave(struct waitqueue *r, struct waitqueue_entry *w)
{
	mutex_lock(&r->lock);
	bool waits = w->waits;
	if (waits)
		g_queue_unlink(&r->waiting, &w->link);
	w->waits = false;
	mutex_unlock(&r->lock);
	return waits;
}

void waitqueue_call(struct waitqueue *r, const void *what)
{
	GQueue called = G_QUEUE_INIT;
	mutex_lock(&r->lock);
	for (GList *next, *link = r->waiting.head; link; link = next) {
		next = link->next;
		if (((struct waitqueue_entry *)link->data)->what == what)
			take_locked(r, link->data, &called);
	}
	mutex_unlock(&r->lock);
	tell(&called, INT64_MIN, 0);
}

void waitqueue_close(struct waitqueue *r)
{
	GQueue all = G_QUEUE_INIT;
	mutex_lock(&r->lock);
	while (r->waiting.head)
		take_locked(r, r->waiting.head->data, &all);
	r->closed = true;
	mutex_unlock(&r->lock);
	alarm_stop(r->clock, &r->alarm);
	tell(&all, INT64_MIN, EIO);
}

void waitqueue_free(struct waitqueue *r)
{
	if (!r)
		return;
	g_assert(r->closed && r->waiting.length == 0);
	mutex_destroy(&r->lock);
	g_free(r);
}
