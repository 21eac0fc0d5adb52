/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A handler's answers to its events. */
#include <errno.h>
#include "fetch/source/wrap/supplied.h"
#include "fuse/events/registry_private.h"

/* The kernel repeats the READ at once */
#define REFUSAL_NS INT64_C(20000000)

static bool error_is_allowed(uint32_t verdict, uint32_t error)
{
	static const int allowed[] = {0, EPERM, EIO, EBUSY, ETXTBSY, EAGAIN, ENOSPC, EDQUOT};
	for (size_t n = 0; n < G_N_ELEMENTS(allowed); n++)
		if (error == (uint32_t)allowed[n])
			return verdict == LACUNA_DENY || error == 0;
	return false;
}

/* In mode holes the scratch file must have all of an allowed range. */
static bool event_supplied(const struct event *e)
{
	struct extent x;
	return e->fd >= 0 &&
	       supplied_around(e->fd, e->offset, e->offset + e->length, e->message->size, &x);
}

/* Passes the event to the next handler that wants it, or ends it: 0 or EIO. */
static int event_answered_locked(struct handler *h, struct event *e, const struct lacuna_answer *a)
        REQUIRES(h->all->lock)
{
	struct ended ended = {e, VERDICT_DENY, a->error ? (int)a->error : EPERM};
	h->answered++;
	h->denied += a->verdict == LACUNA_DENY;
	e->passed = h->rank;
	e->by = h;
	if (e->supplied)
		supplied_limit(e->fd, e->message->size, e->supplied);
	if (a->verdict != LACUNA_DENY) {
		e->fetch |= a->verdict == LACUNA_FETCH && !h->content;
		e->allowed |= a->verdict == LACUNA_ALLOW && !h->content;
		if (event_pass_locked(h->all, e, &ended))
			return 0;
	}
	bool lacks = !e->every && ended.verdict == VERDICT_ALLOW && !event_supplied(e);
	if (lacks) {
		g_message("handler \"%s\" (pid %d) allowed /%.*s without supplying all of "
		          "%" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT,
		          h->name, (int)h->pid, (int)e->message->path_length, e->message->path,
		          e->offset, e->length);
		ended = (struct ended){e, VERDICT_DENY, EIO};
	}
	if (e->cached && ended.verdict == VERDICT_DENY)
		refusals_note(
		        &h->all->refusals,
		        (struct refusal){.ino = e->ino,
		                         .offset = e->offset,
		                         .end = e->offset + e->length,
		                         .tid = e->cause.pid,
		                         .left = e->message->operation == LACUNA_FAULT ? 2 : 1,
		                         .error = ended.error},
		        REFUSAL_NS);
	mutex_unlock(&h->all->lock);
	event_end(h->all, &ended);
	mutex_lock(&h->all->lock);
	return lacks ? EIO : 0;
}

int handler_answer(struct handler *h, const struct lacuna_answer *a)
{
	if (a->verdict < LACUNA_ALLOW || a->verdict > LACUNA_DENY ||
	    !error_is_allowed(a->verdict, a->error))
		return EINVAL;
	struct event *e = NULL;
	mutex_lock(&h->all->lock);
	for (GList *l = h->sent.head; l && !e; l = l->next) {
		struct event *sent = l->data;
		if (sent->message->header.id == a->header.id)
			e = sent;
	}
	/* an event of a worker that died is asked anew */
	int err = a->header.id <= h->all->before ? 0 : ENOENT;
	if (e) {
		g_queue_unlink(&h->sent, &e->link);
		e->with = NULL;
		err = event_answered_locked(h, e, a);
	}
	bool more = !g_queue_is_empty(&h->unsent);
	if (more)
		handler_send_locked(h);
	mutex_unlock(&h->all->lock);
	return err;
}
