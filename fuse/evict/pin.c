/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/evict/pin.h"
#include <errno.h>
#include "fetch/store/disk/pins.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/names.h"
#include "fuse/inode/pinned.h"
#include "fuse/inode/server.h"

void pin_file(struct server *s, struct inode *i, struct leaving *out)
{
	g_autofree char *path = inode_visible_path(s, i);
	*out = (struct leaving){.error = -store_pin(s->store, i->ino, path)};
}

static bool list_one(void *user, uint64_t ino, const char *then)
{
	const struct pin_list *l = user;
	struct inode *i = inode_find(l->server->inodes, ino);
	g_autofree char *now = i ? inode_visible_path(l->server, i) : NULL;
	/* the path of the root is empty, as that of a file without a name */
	bool known = now && (*now || inode_id(i) == FUSE_ROOT_ID);
	if (i)
		inode_put(l->server, i);
	return l->line(l->user, ino, known ? now : then, known);
}

void pin_list(const struct pin_list *l)
{
	store_pins_foreach(l->server->store, list_one, (void *)l);
}

void unpin_file(struct server *s, struct inode *i, struct leaving *out)
{
	*out = (struct leaving){.error = -store_unpin(s->store, i->ino)};
	if (!out->error && inode_is_pinned(s, i))
		*out = (struct leaving){.error = EBUSY, .cause = "a directory above it is pinned"};
}
