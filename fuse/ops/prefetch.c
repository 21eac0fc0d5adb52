/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include <sys/stat.h>
#include "fuse/events/registry.h"
#include "fuse/ops/ops.h"

/* Small files: one request costs more than their data */
#define SMALL_FILE (1u << 20)
#define SIBLINGS_MAX 64
/* A process that has just read a directory to its end, and begins the next one with its first file,
 * continues at that pace. A build, which reads one Makefile in each directory, does not: prefetch
 * fetched fifteen times the data it read. */
#define MOMENTUM_NS (2 * INT64_C(1000000000))

struct prefetch_walk {
	struct pool_job job;
	struct server *server;
	struct inode *inode; /* a reference */
};

/* The siblings worth fetching after the one at `index`: [*from, *to). */
static void walk_range(struct server *s, struct inode *dir, struct listing *l, uint32_t index,
                       uint32_t *from, uint32_t *to)
{
	uint32_t count = listing_count(l), first = 0;
	while (first < index && !S_ISREG(listing_at(l, first)->mode))
		first++;
	int64_t now = clock_now();
	bool momentum = first == index &&
	                now - __atomic_load_n(&s->walked_ns, __ATOMIC_RELAXED) < MOMENTUM_NS;
	mutex_lock(&dir->lock);
	struct walkahead *w = &dir->walk;
	bool begun = w->last == 0 && momentum;
	if (begun) {
		*from = index + 1;
		*to = MIN(count, *from + SIBLINGS_MAX);
		*w = (struct walkahead){.last = *from, .window = SIBLINGS_MAX, .edge = *to};
	} else {
		walkahead_next(w, index, count, SIBLINGS_MAX, from, to);
	}
	bool ended = w->edge >= count && w->window >= SIBLINGS_MAX / 2;
	mutex_unlock(&dir->lock);
	/* Files fetched on the momentum of the previous directory must be read before the next one
	 * is fetched so: first files alone would keep it up. */
	if (begun && *from < *to)
		__atomic_store_n(&s->walked_ns, 0, __ATOMIC_RELAXED);
	else if (ended)
		__atomic_store_n(&s->walked_ns, now, __ATOMIC_RELAXED);
}

static void walk_on(struct server *s, struct inode *i)
{
	uint32_t index, from, to;
	struct inode *dir;
	struct listing *l = inode_listed_in(s, i, &index, &dir);
	if (!l)
		return;
	struct directory *d = inode_open_directory(s, dir);
	walk_range(s, dir, l, index, &from, &to);
	bool halfway = false;
	for (uint32_t n = from; n < to; n++) {
		struct listing_entry e;
		uint32_t at;
		directory_entry(d, l, n, &e);
		if (directory_child(d, l, listing_name(l, &e), &at) != CHILD_REMOTE)
			continue;
		if (!S_ISREG(e.mode) || !(e.flags & LISTING_SIZE_EXACT) || e.size == 0 ||
		    e.size > SMALL_FILE)
			continue;
		struct inode *sibling = inode_intern(s, dir, listing_name(l, &e), &e, false);
		if (!sibling)
			break;
		bool asked = registry_want(s->handlers, sibling, false);
		mutex_lock(&sibling->lock);
		bool wanted = !sibling->complete && !asked;
		/* Halfway, and at the end in case that one is skipped */
		sibling->ahead = wanted && (n + 1 == to || (!halfway && n >= (from + to) / 2));
		halfway |= sibling->ahead;
		mutex_unlock(&sibling->lock);
		if (wanted) {
			struct content *c = inode_open_content(s, sibling);
			if (content_open(c) == 0)
				fill_prefetch(c);
			content_unref(c);
		}
		inode_put(s, sibling);
	}
	listing_unref(l);
	inode_put(s, dir);
}

static void walk_run(struct pool_job *job)
{
	struct prefetch_walk *w = (struct prefetch_walk *)job;
	walk_on(w->server, w->inode);
	inode_put(w->server, w->inode);
	g_free(w);
}

/* Looks for the local files of up to SIBLINGS_MAX siblings: not on the session's thread. */
void prefetch_siblings(struct server *s, struct inode *i)
{
	mutex_lock(&i->lock);
	bool small = i->size <= SMALL_FILE;
	i->ahead = false;
	mutex_unlock(&i->lock);
	if (!small)
		return;
	struct prefetch_walk *w = g_new0(struct prefetch_walk, 1);
	w->job.run = walk_run;
	w->server = s;
	w->inode = inode_ref(s->inodes, i);
	pool_submit(s->disk, &w->job);
}
