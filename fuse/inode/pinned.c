/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/pinned.h"
#include "fetch/store/disk/pins.h"
#include "fuse/inode/names.h"
#include "fuse/inode/server.h"

static bool is_pinned_upwards_locked(struct store *s, const struct inode *i)
{
	while (i && !store_is_pinned(s, i->ino))
		i = i->parent;
	return i;
}

bool inode_is_pinned(struct server *s, const struct inode *i)
{
	if (store_pins(s->store) == 0)
		return false;
	rwlock_rdlock(&s->names);
	bool pinned = is_pinned_upwards_locked(s->store, i) ||
	              is_pinned_upwards_locked(s->store, names_owner_locked(i));
	if (names_has_aliases(i)) {
		GHashTableIter iter;
		gpointer next;
		g_hash_table_iter_init(&iter, i->extra->aliases);
		while (!pinned && g_hash_table_iter_next(&iter, &next, NULL))
			pinned = is_pinned_upwards_locked(s->store,
			                                  ((const struct alias *)next)->parent);
	}
	rwlock_unlock(&s->names);
	return pinned;
}
