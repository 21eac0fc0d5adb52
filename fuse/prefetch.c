/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include <sys/stat.h>
#include "fuse/ops.h"

/* What counts as small: one request costs more than its bytes */
#define SMALL_FILE (1u << 20)
#define SIBLINGS_MAX 64

void prefetch_siblings(struct server *s, struct inode *i)
{
	uint32_t index, from, to;
	if (i->size > SMALL_FILE || s->settings->prefetch_bytes == 0)
		return;
	struct listing *l = inode_listed(s, i, &index);
	if (!l)
		return;
	struct inode *dir = i->parent;
	struct directory *d = inode_open_directory(s, dir);
	pthread_mutex_lock(&dir->lock);
	walkahead_next(&dir->walk, index, listing_count(l), SIBLINGS_MAX, &from, &to);
	pthread_mutex_unlock(&dir->lock);
	for (uint32_t n = from; n < to; n++) {
		struct listing_entry e;
		directory_entry(d, l, n, &e);
		if (!S_ISREG(e.mode) || !(e.flags & LISTING_SIZE_EXACT) || e.size == 0 ||
		    e.size > SMALL_FILE)
			continue;
		struct inode *sibling = inode_intern(s->inodes, dir, listing_name(l, &e), &e, false);
		if (!sibling)
			break;
		pthread_mutex_lock(&sibling->lock);
		bool wanted = !sibling->complete;
		pthread_mutex_unlock(&sibling->lock);
		if (wanted) {
			struct content *c = inode_open_content(s, sibling);
			if (content_open(c) == 0)
				fill_prefetch(c);
			content_unref(c);
		}
		inode_put(s, sibling);
	}
	listing_unref(l);
}
