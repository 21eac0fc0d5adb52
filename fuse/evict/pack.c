/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/evict/pack.h"
#include <errno.h>
#include "fetch/store/disk/pins.h"
#include "fetch/store/object/object.h"
#include "fuse/evict/inquiry.h"
#include "fuse/inode/server.h"

/* The source's path of a pack is that of the store, below: */
#define REMOTE ".lacuna"

void pack_evict(struct server *s, const char *path, struct leaving *out)
{
	g_autofree char *remote = g_strconcat(REMOTE, path, NULL);
	struct source_stat st;
	*out = (struct leaving){0};
	if (store_pins(s->store) > 0) {
		*out = (struct leaving){.error = EPERM, .cause = "pinned files may be in its pack"};
		return;
	}
	int err = inquiry_stat(s, remote, 0, &st);
	if (err && err != ENOENT) {
		*out = (struct leaving){.error = err,
		                        .cause = "kept: the source does not confirm that it still "
		                                 "has this version"};
		return;
	}
	out->error = -fill_evict_pack(s->fill, path, &out->bytes);
	if (out->error == EBUSY)
		out->cause = "a file of its pack is open";
	__atomic_add_fetch(&s->counters.evicted_files, out->bytes > 0, __ATOMIC_RELAXED);
	__atomic_add_fetch(&s->counters.evicted_bytes, out->bytes, __ATOMIC_RELAXED);
}

void pack_evict_of(struct server *s, struct inode *i, const char *remote, struct leaving *out)
{
	struct source_packed p;
	struct store_probe found;
	mutex_lock(&i->lock);
	uint64_t size = i->size;
	mutex_unlock(&i->lock);
	if (!source_packed(s->source, remote, size, &p))
		return;
	g_autofree char *path = fill_pack_path(&p);
	if (store_probe(s->store, path, 0, &found) == 0)
		pack_evict(s, path, out);
}
