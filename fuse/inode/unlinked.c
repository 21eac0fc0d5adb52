/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/unlinked.h"
#include "fetch/store/tree/tree.h"
#include "fuse/inode/server.h"

struct dropping {
	struct pool_job job;
	struct store *store;
	GArray *unlinked;
};

static void dropping_run(struct pool_job *job)
{
	struct dropping *d = (struct dropping *)((char *)job - offsetof(struct dropping, job));
	for (guint n = 0; n < d->unlinked->len; n++)
		tree_orphan_drop(d->store, g_array_index(d->unlinked, struct unlinked, n).number);
	g_array_unref(d->unlinked);
	g_free(d);
}

void unlinked_remove(struct server *s, GArray *unlinked)
{
	if (!unlinked)
		return;
	for (guint n = 0; n < unlinked->len; n++) /* before the store reuses the number */
		if (g_array_index(unlinked, struct unlinked, n).ino)
			s->inode_gone(s, g_array_index(unlinked, struct unlinked, n).ino);
	struct dropping *d = g_new0(struct dropping, 1);
	d->job.run = dropping_run;
	d->store = s->store;
	d->unlinked = unlinked;
	if (s->disk)
		pool_submit(s->disk, &d->job);
	else
		dropping_run(&d->job);
}
