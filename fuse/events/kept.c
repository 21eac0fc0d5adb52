/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/events/kept.h"
#include <string.h>
#include <sys/eventfd.h>
#include "fuse/base/area.h"
#include "fuse/events/commits.h"
#include "fuse/inode/server.h"
#include "fuse/keeper/keeping.h"
#include "lacuna/precontent.h"

struct change {
	uint32_t scope, flags;
	uint64_t ino;
};

struct place {
	_Atomic bool used, attached;
	bool every, content;
	uint32_t backlog;
	int32_t pid;
	uint64_t rank;
	char name[LACUNA_NAME_MAX + 1];
	_Atomic uint32_t half, count; /* the changes in use: their half, and their number */
};

struct kept_table {
	struct place places[KEPT_HANDLERS];
	struct change changes[KEPT_HANDLERS][2][KEPT_MARKS_MAX];
};

static struct kept_table *kept_of(const struct registry *all)
{
	G_STATIC_ASSERT(sizeof(struct kept_table) <= AREA_KEPT_HANDLERS_SIZE);
	return area_region(all->server->area, AREA_KEPT_HANDLERS);
}

static struct place *place_of(const struct handler *h)
{
	return h->place ? &kept_of(h->all)->places[h->place - 1] : NULL;
}

static void place_take(struct handler *h)
{
	struct kept_table *k = kept_of(h->all);
	for (unsigned n = 0; n < KEPT_HANDLERS && !h->place; n++)
		if (!k->places[n].used)
			h->place = n + 1;
	if (!h->place) {
		g_message(
		        "handler \"%s\" would not outlive a crash of the worker: too many handlers",
		        h->name);
		return;
	}
	struct place *p = place_of(h);
	p->count = p->half = 0;
	p->attached = false;
	p->rank = h->rank;
	g_strlcpy(p->name, h->name, sizeof(p->name));
}

void kept_attached(struct handler *h)
{
	if (!h->place && h->all->server->area->kept)
		place_take(h);
	struct place *p = place_of(h);
	if (!p)
		return;
	p->every = h->every;
	p->content = h->content;
	p->backlog = h->backlog;
	p->pid = h->pid;
	p->used = true;
	keeping_hand(h->all->server->keeping, KEPT_HANDLER + h->place - 1, h->fd);
	p->attached = true;
}

void kept_lost(struct handler *h)
{
	struct place *p = place_of(h);
	if (!p)
		return;
	p->attached = false;
	keeping_drop(h->all->server->keeping, KEPT_HANDLER + h->place - 1);
}

void kept_drop(struct handler *h)
{
	struct place *p = place_of(h);
	if (!p)
		return;
	kept_lost(h);
	p->used = false;
	h->place = 0;
}

struct writing {
	struct change *to;
	uint32_t count;
};

static void mark_write(void *user, uint32_t scope, uint32_t flags, uint64_t ino)
{
	struct writing *w = user;
	if (w->count < KEPT_MARKS_MAX)
		w->to[w->count] = (struct change){scope, flags, ino};
	w->count++;
}

/* The marks as they are now, to the other half. false: they are too many. */
static bool rewrite(struct handler *h, struct place *p)
{
	struct writing w = {kept_of(h->all)->changes[h->place - 1][!p->half], 0};
	marks_foreach(h->marks, mark_write, &w);
	if (w.count >= KEPT_MARKS_MAX)
		return false;
	/* between these two stores the count may be too high for the half: its end is then zeros,
	 * or older changes, so it is lowered first */
	p->count = 0;
	p->half = !p->half;
	p->count = w.count;
	return true;
}

void kept_mark(struct handler *h, uint32_t scope, uint32_t flags, uint64_t ino)
{
	struct place *p = place_of(h);
	if (!p)
		return;
	if (p->count == KEPT_MARKS_MAX && !rewrite(h, p)) {
		g_message("handler \"%s\" would not outlive a crash of the worker: too many marks",
		          h->name);
		kept_drop(h);
		return;
	}
	kept_of(h->all)->changes[h->place - 1][p->half][p->count] =
	        (struct change){scope, flags, ino};
	p->count++;
}

static void restore_locked(struct registry *all, unsigned n) REQUIRES(all->lock)
{
	struct place *p = &kept_of(all)->places[n];
	const struct keeping *k = all->server->keeping;
	if (!p->used || !memchr(p->name, '\0', sizeof(p->name)))
		return;
	struct handler_options o = {p->every, p->content, p->backlog, p->name};
	int fd = p->attached ? k->fds[KEPT_HANDLER + n] : -1;
	struct handler *h = handler_new_locked(all, &o, p->rank);
	h->place = n + 1;
	h->every = p->every;
	h->backlog = p->backlog;
	h->pid = p->pid;
	h->fd = fd;
	h->wake = fd >= 0 ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	for (uint32_t i = 0; i < MIN(p->count, KEPT_MARKS_MAX); i++) {
		const struct change *c = &kept_of(all)->changes[n][p->half & 1][i];
		if (c->scope)
			marks_set(h->marks, c->scope, c->flags, c->ino, false);
		else
			marks_forget(h->marks, c->ino);
	}
	all->attached = MAX(all->attached, p->rank & ~(UINT64_C(1) << 63));
}

void kept_restore(struct registry *all)
{
	mutex_lock(&all->lock);
	all->events = all->before = all->server->area->events;
	for (unsigned n = 0; n < KEPT_HANDLERS; n++)
		restore_locked(all, n);
	mutex_unlock(&all->lock);
}
