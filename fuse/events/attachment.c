/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Handlers attach and leave. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "fuse/events/commits.h"
#include "fuse/events/kept.h"
#include "fuse/events/registry_private.h"

static gint by_rank(gconstpointer a, gconstpointer b)
{
	const struct handler *x = a, *y = b;
	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* A handler of that name, lost ones first. */
static struct handler *handler_named_locked(struct registry *all, const struct handler_options *o)
        REQUIRES(all->lock)
{
	struct handler *found = NULL;
	for (GList *l = all->list; l && !(found && found->fd < 0); l = l->next) {
		struct handler *h = l->data;
		if (strcmp(h->name, o->name) == 0 && h->content == o->content && !h->draining)
			found = h;
	}
	return found;
}

static bool hung_up(int fd)
{
	struct pollfd p = {.fd = fd};
	return fd >= 0 && poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
}

struct handler *handler_new_locked(struct registry *all, const struct handler_options *o,
                                   uint64_t rank)
{
	struct handler *h = g_new0(struct handler, 1);
	h->all = all;
	h->rank = rank;
	h->name = g_strdup(o->name);
	h->content = o->content;
	h->fd = h->wake = -1;
	h->marks = marks_new();
	h->commits = commits_new();
	all->list = g_list_insert_sorted(all->list, h, by_rank);
	__atomic_add_fetch(&all->count, 1, __ATOMIC_RELEASE);
	return h;
}

struct handler *registry_attach(struct registry *all, const struct handler_options *o, int fd,
                                bool *inherited, int *err)
{
	struct ucred peer = {0};
	socklen_t size = sizeof peer;
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
	mutex_lock(&all->lock);
	struct handler *h;
	/* a handler that has just died will soon be noticed */
	while ((h = handler_named_locked(all, o)) && o->name[0] && hung_up(h->fd))
		condition_wait(&all->changed, &all->lock);
	bool busy = all->stopped || (h && h->fd >= 0 && o->name[0]);
	*inherited = h && h->fd < 0;
	bool full = !busy && !*inherited && all->count >= REGISTRY_HANDLERS;
	*err = busy ? EBUSY : full ? EAGAIN : 0;
	if (!*err && !*inherited) {
		uint64_t rank = ++all->attached + (o->content ? UINT64_C(1) << 63 : 0);
		h = handler_new_locked(all, o, rank);
	}
	if (!*err) {
		h->every = o->every;
		h->backlog = o->backlog ? o->backlog : LACUNA_BACKLOG;
		h->pid = peer.pid;
		h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		h->fd = fd;
		kept_attached(h);
	}
	mutex_unlock(&all->lock);
	return *err ? NULL : h;
}

/* Resets the event, as if no handler had seen it. */
static void event_restart_locked(struct event *e)
{
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
	g_clear_pointer(&e->supplied, g_array_unref);
	e->passed = 0;
	e->fetch = e->allowed = false;
	e->message->flags |= LACUNA_EVENT_AGAIN;
}

GArray *handler_unload_locked(struct handler *h, bool stays)
{
	struct registry *all = h->all;
	GArray *over = g_array_new(FALSE, FALSE, sizeof(struct ended));
	GQueue had = h->unsent;
	GList *link;
	if (!stays) {
		kept_drop(h);
		all->list = g_list_remove(all->list, h);
		__atomic_sub_fetch(&all->count, 1, __ATOMIC_RELEASE);
	}
	g_queue_init(&h->unsent);
	while ((link = g_queue_pop_tail_link(&h->sent)))
		g_queue_push_head_link(&had, link);
	while ((link = g_queue_pop_head_link(&had))) {
		struct event *e = link->data;
		struct ended ended;
		if (h->draining && stays && commits_state(h->commits, e->ino) == EINPROGRESS) {
			g_queue_push_tail_link(&h->unsent, link);
			continue;
		}
		event_restart_locked(e);
		if (!event_pass_locked(h->all, e, &ended))
			g_array_append_val(over, ended);
	}
	return over;
}

bool handler_leave(struct handler *h)
{
	struct registry *all = h->all;
	bool drained = false, stays = false;
	mutex_lock(&h->all->lock);
	while (!drained && !stays) {
		drained = !commits_any(h->commits);
		stays = !drained && (all->hurried || all->stopped);
		g_autoptr(GArray) over = handler_unload_locked(h, !drained);
		if (over->len == 0 && !drained && !stays)
			condition_wait(&all->changed, &h->all->lock);
		mutex_unlock(&h->all->lock);
		for (guint n = 0; n < over->len; n++)
			event_end(h->all, &g_array_index(over, struct ended, n));
		mutex_lock(&h->all->lock);
	}
	mutex_unlock(&h->all->lock);
	return drained;
}

/* Returns the next lost handler, which is to leave; disconnects the attached ones. */
static struct handler *dismiss_locked(struct registry *all, const char *name, unsigned *count)
        REQUIRES(all->lock)
{
	struct handler *lost = NULL;
	for (GList *l = all->list; l; l = l->next) {
		struct handler *h = l->data;
		if (strcmp(h->name, name) != 0 || h->dismissed || h->draining)
			continue;
		h->dismissed = true;
		(*count)++;
		if (h->fd < 0) {
			h->draining = true;
			lost = h;
			break;
		}
		shutdown(h->fd, SHUT_RDWR); /* its thread notices */
	}
	return lost;
}

unsigned registry_dismiss(struct registry *all, const char *name)
{
	unsigned count = 0;
	for (;;) {
		mutex_lock(&all->lock);
		struct handler *lost = dismiss_locked(all, name, &count);
		mutex_unlock(&all->lock);
		if (!lost)
			return count;
		if (handler_leave(lost))
			handler_free(lost);
	}
}

void registry_forget(struct registry *all, uint64_t ino)
{
	if (!registry_any(all))
		return;
	commits_forget(all->commits, ino);
	mutex_lock(&all->lock);
	for (GList *l = all->list; l; l = l->next) {
		struct handler *h = l->data;
		marks_forget(h->marks, ino);
		commits_forget(h->commits, ino);
		kept_mark(h, 0, 0, ino);
	}
	mutex_unlock(&all->lock);
}

bool registry_marks_full_locked(struct registry *all)
{
	unsigned count = 0;
	for (GList *l = all->list; l && count < REGISTRY_MARKS; l = l->next)
		count += marks_count(((struct handler *)l->data)->marks);
	return count >= REGISTRY_MARKS;
}
