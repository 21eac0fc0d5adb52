/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/ops/release.h"
#include "fetch/store/disk/lru.h"
#include "fuse/inode/access.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/iomode.h"
#include "fuse/inode/notify.h"
#include "fuse/inode/server.h"

void handle_release(struct server *s, struct handle *h)
{
	struct inode *i = h->inode;
	/* data may have been written through a mapping */
	bool unseen = h->write && i->iomode == IOMODE_PASSTHROUGH;
	if (h->visited)
		store_visit_end(s->store, h->visited);
	h->visited = 0;
	uint64_t used = i->born ? 0 : i->number;
	if (used)
		store_lru_touch(s->store, used);
	iomode_release(s, i);
	access_release(s, i, h->flags);
	mutex_lock(&i->lock);
	bool outdated = i->outdated && i->handles == 0;
	mutex_unlock(&i->lock);
	/* After a new look-up it can take the newer version. */
	if (outdated) {
		g_autofree char *name = NULL;
		struct inode *parent = inode_parent(s, i, &name);
		notifier_entry(s->notifier, inode_id(parent), name);
		inode_put(s, parent);
	}
	if (unseen)
		notifier_inode(s->notifier, inode_id(i), false);
	handle_close(s, h);
}
