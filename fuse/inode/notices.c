/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/inode/notices.h"
#include <string.h>
#include "fuse/base/area.h"
#include "fuse/base/arena.h"

struct notice *notice_new(struct arena *a, uint64_t nodeid, const char *name)
{
	size_t length = strlen(name);
	struct notice *e = arena_take(a, sizeof(*e) + length + 1);
	e->nodeid = nodeid;
	e->length = (uint32_t)length;
	memcpy(e->name, name, length);
	return e;
}

void notice_free(struct arena *a, struct notice *e)
{
	arena_give(a, e);
}

void notice_link_locked(struct area *a, struct notice *e)
{
	e->before = NULL;
	e->next = a->notices;
	if (e->next)
		e->next->before = e;
	__atomic_store_n(&a->notices, e, __ATOMIC_RELEASE);
}

void notice_unlink_locked(struct area *a, struct notice *e)
{
	__atomic_store_n(e->before ? &e->before->next : &a->notices, e->next, __ATOMIC_RELEASE);
	if (e->next)
		e->next->before = e->before;
}

bool notices_restore(struct area *a, struct arena *arena)
{
	struct notice *before = NULL;
	for (struct notice *e = a->notices; e; e = e->next) {
		if (!arena_holds(arena, e, sizeof(*e)) ||
		    !arena_mark(arena, e, sizeof(*e) + e->length + 1) || e->name[e->length])
			return false;
		e->before = before;
		before = e;
	}
	return true;
}
