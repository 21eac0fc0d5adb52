/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/area.h"
#include "fuse/events/registry.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "fetch/source/wrap/supplied.h"
#include "fuse/events/commits.h"
#include "fuse/events/registry_private.h"
#include "fuse/events/trace.h"
#include "fuse/inode/inode.h"
#include "fuse/inode/server.h"

struct registry *registry_new(struct server *s)
{
	struct registry *all = g_new0(struct registry, 1);
	all->server = s;
	mutex_init(&all->lock, RANK_REGISTRY);
	condition_init(&all->changed);
	all->commits = commits_new();
	return all;
}

void handler_free(struct handler *h)
{
	marks_free(h->marks);
	commits_free(h->commits);
	if (h->wake >= 0)
		close(h->wake);
	g_free(h->name);
	g_free(h);
}

void registry_free(struct registry *all)
{
	if (!all)
		return;
	g_list_free_full(all->list, (GDestroyNotify)handler_free);
	commits_free(all->commits);
	condition_destroy(&all->changed);
	mutex_destroy(&all->lock);
	g_free(all);
}

static bool handler_wants(const struct handler *h, bool every, uint64_t ino, const GArray *parents)
{
	return h->every == every &&
	       (!h->draining || commits_state(h->commits, ino) == EINPROGRESS) &&
	       marks_want(h->marks, ino, parents);
}

bool registry_any(const struct registry *all)
{
	return __atomic_load_n(&all->count, __ATOMIC_ACQUIRE) > 0;
}

bool registry_want(struct registry *all, struct inode *i, bool every)
{
	if (!registry_any(all))
		return false;
	g_autoptr(GArray) parents = event_parents(all->server, i);
	bool wanted = false;
	mutex_lock(&all->lock);
	for (GList *l = all->list; l && !wanted; l = l->next)
		wanted = handler_wants(l->data, every, i->ino, parents);
	mutex_unlock(&all->lock);
	return wanted;
}

static void handler_wake(struct handler *h)
{
	uint64_t one = 1;
	if (write(h->wake, &one, sizeof one) < 0)
		g_warning("handlers: cannot wake a thread: %s", g_strerror(errno));
}

/* A lost handler is noticed by its own thread. */
static void event_give_locked(struct handler *h, struct event *e) REQUIRES(h->all->lock)
{
	bool first = g_queue_is_empty(&h->unsent);
	e->with = h;
	g_queue_push_tail_link(&h->unsent, &e->link);
	if (h->serving && !(first && handler_flush_locked(h)))
		handler_wake(h);
}

bool event_pass_locked(struct registry *all, struct event *e, struct ended *out)
{
	enum handler_lost policy = all->server->settings->handler_lost;
	e->with = NULL;
	for (GList *l = all->list; l && !all->stopped; l = l->next) {
		struct handler *h = l->data;
		if (h->rank <= e->passed || !handler_wants(h, e->every, e->ino, e->parents))
			continue;
		bool there = h->fd >= 0, lost = !there && !h->draining;
		int err = h->unsent.length + h->sent.length >= h->backlog ? EBUSY
		          : lost && policy == HANDLER_LOST_DENY           ? EIO
		          : there && event_deadlocks(e, h->pid)           ? EDEADLK
		                                                          : 0;
		if (err) {
			*out = (struct ended){e, VERDICT_DENY, err};
			return false;
		}
		mutex_assert_held(&h->all->lock); /* all->lock */
		event_give_locked(h, e);
		return true;
	}
	*out = (struct ended){e,
	                      all->stopped              ? VERDICT_CANCEL
	                      : e->fetch || !e->allowed ? VERDICT_FETCH
	                                                : VERDICT_ALLOW,
	                      0};
	return false;
}

void event_end(struct registry *all, struct ended *ended)
{
	struct event *e = ended->event;
	struct extent supplied;
	int fd = e->fd;
	e->fd = -1;
	if (fd >= 0 && !supplied_next(fd, 0, e->message->size, &supplied)) {
		close(fd);
		fd = -1;
	}
	e->verdict = ended->verdict;
	e->error = ended->error;
	e->commits = fd >= 0 && (e->verdict == VERDICT_ALLOW || e->verdict == VERDICT_FETCH);
	if (e->commits) {
		commits_begin(all->commits, e->ino);
		commits_begin(e->by->commits, e->ino);
	}
	e->done(e, ended->verdict, ended->error, fd);
}

void registry_committed(struct registry *all, const struct event *e, int error)
{
	commits_end(all->commits, e->ino, error);
	mutex_lock(&all->lock);
	commits_end(e->by->commits, e->ino, error);
	condition_broadcast(&all->changed);
	for (GList *l = all->list; l; l = l->next) {
		struct handler *h = l->data;
		if (h->postpones)
			handler_wake(h);
	}
	mutex_unlock(&all->lock);
}

/* Ends an event on the disk pool, for `done` must not run within the call that asked. */
struct prompt {
	struct pool_job job; /* first */
	struct registry *all;
	struct ended ended;
};

static void prompt_run(struct pool_job *job)
{
	struct prompt *r = (struct prompt *)job;
	event_end(r->all, &r->ended);
	g_free(r);
}

bool registry_ask(struct registry *all, struct event *e)
{
	struct inode *i = e->cause.owner;
	if (!i || !registry_any(all))
		return false;
	e->parents = event_parents(all->server, i);
	bool wanted = false;
	mutex_lock(&all->lock);
	for (GList *l = all->list; l && !wanted; l = l->next)
		wanted = handler_wants(l->data, e->every, i->ino, e->parents);
	uint64_t id = wanted ? ++all->events : 0;
	all->server->area->events = all->events;
	mutex_unlock(&all->lock);
	if (!wanted) {
		g_clear_pointer(&e->parents, g_array_unref);
		return false;
	}
	event_describe(all->server, e, id);
	/* without the lock: the disk may stall */
	int scratch = store_scratch(all->server->store, e->message->size);
	e->fd = MAX(scratch, -1); /* otherwise the handler's thread tries */
	struct prompt *r = g_new0(struct prompt, 1);
	mutex_lock(&all->lock);
	struct refusal before;
	bool again = e->cached &&
	             refusals_take(&all->refusals, i->ino, e->cause.pid, e->offset, &before);
	int refused = again ? before.error : 0;
	r->ended = (struct ended){e, VERDICT_DENY, refused};
	bool passed = !refused && event_pass_locked(all, e, &r->ended);
	mutex_unlock(&all->lock);
	if (passed) {
		g_free(r);
		return true;
	}
	r->all = all;
	r->job.run = prompt_run;
	pool_submit(all->server->disk, &r->job);
	return true;
}

bool registry_withdraw(struct registry *all, struct event *e)
{
	mutex_lock(&all->lock);
	struct handler *h = e->with;
	if (h) {
		g_queue_unlink(g_queue_find(&h->unsent, e) ? &h->unsent : &h->sent, &e->link);
		e->with = NULL;
	}
	mutex_unlock(&all->lock);
	if (h)
		event_clear(e);
	return h != NULL;
}

void registry_hurry(struct registry *all)
{
	mutex_lock(&all->lock);
	all->hurried = true;
	condition_broadcast(&all->changed);
	mutex_unlock(&all->lock);
}

/* A question from the source, for handlers of mode holes. */
struct asked_event {
	struct event event; /* first */
	struct question *question;
};

static void question_done(struct event *e, enum verdict verdict, int error, int fd)
{
	question_answer(((struct asked_event *)e)->question, verdict, error, fd);
}

static bool question_ask(void *user, struct question *q)
{
	struct registry *all = user;
	struct tracers *tracers = all->server->tracers;
	if (!registry_any(all) && !tracers_any(tracers))
		return false;
	struct asked_event *a = g_new0(struct asked_event, 1);
	a->event.offset = q->offset;
	a->event.length = q->length;
	a->event.cause = q->cause;
	a->event.cached = q->cause.operation == LACUNA_READ;
	a->event.done = question_done;
	a->question = q;
	q->user = a;
	if (registry_ask(all, &a->event))
		return true;
	if (tracers_any(tracers)) {
		a->event.unasked = q->unasked = true;
		event_describe(all->server, &a->event, 0);
		question_answer(q, VERDICT_FETCH, 0, -1);
		return true;
	}
	g_free(a);
	return false;
}

static void question_ended(void *user, struct question *q, int error)
{
	struct registry *all = user;
	struct asked_event *a = q->user;
	tracers_tell(all->server->tracers, &a->event, error);
	if (a->event.commits)
		registry_committed(all, &a->event, error);
	event_clear(&a->event);
	g_free(a);
}

/* No handler is asked from here on; pending events get VERDICT_CANCEL. */
static void questions_stop(void *user)
{
	struct registry *all = user;
	GQueue over = G_QUEUE_INIT;
	struct event *e;
	mutex_lock(&all->lock);
	all->stopped = true;
	for (GList *l = all->list; l; l = l->next) {
		struct handler *h = l->data;
		GList *link;
		while ((link = g_queue_pop_head_link(&h->unsent)) ||
		       (link = g_queue_pop_head_link(&h->sent))) {
			((struct event *)link->data)->with = NULL;
			g_queue_push_tail_link(&over, link);
		}
	}
	mutex_unlock(&all->lock);
	while ((e = g_queue_peek_head(&over))) {
		g_queue_unlink(&over, &e->link);
		event_end(all, &(struct ended){e, VERDICT_CANCEL, 0});
	}
}

const struct interceptor_ops registry_interceptor = {
        .ask = question_ask,
        .ended = question_ended,
        .stop = questions_stop,
};

void registry_foreach(struct registry *all, void (*fn)(const struct handler_info *, void *),
                      void *user)
{
	mutex_lock(&all->lock);
	for (GList *l = all->list; l; l = l->next) {
		const struct handler *h = l->data;
		if (h->draining)
			continue;
		const struct handler_info info = {
		        .name = h->name,
		        .every = h->every,
		        .content = h->content,
		        .lost = h->fd < 0,
		        .pid = h->pid,
		        .marks = marks_count(h->marks),
		        .waiting = h->unsent.length + h->sent.length,
		        .answered = h->answered,
		        .denied = h->denied,
		};
		fn(&info, user);
	}
	mutex_unlock(&all->lock);
}
