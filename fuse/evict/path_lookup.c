/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/evict/path_lookup.h"
#include <errno.h>
#include <sys/stat.h>
#include "fetch/base/lock.h"
#include "fuse/inode/inode_content.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/local.h"
#include "fuse/inode/names.h"
#include "fuse/inode/server.h"
#include "fuse/inode/ways.h"

struct listing_wait {
	struct lister_wait wait; /* first */
	struct mutex lock;
	struct condition come;
	bool done;
	int error;
	struct listing *listing; /* a reference */
};

static void listed(struct lister_wait *w, struct listing *listing, int error)
{
	struct listing_wait *l = (struct listing_wait *)w;
	mutex_lock(&l->lock);
	l->done = true;
	l->error = error;
	l->listing = error || !listing ? NULL : listing_ref(listing);
	condition_signal(&l->come);
	mutex_unlock(&l->lock);
}

/* The directory's listing, of any age: the source is asked about the file itself later. */
static struct listing *list(struct directory *d, int *err)
{
	struct listing_wait l = {.wait = {.done = listed}};
	l.listing = directory_listing(d, NULL);
	if (l.listing)
		return l.listing;
	mutex_init(&l.lock, RANK_INQUIRY);
	condition_init(&l.come);
	int result = lister_want(d, &l.wait, &l.listing);
	mutex_lock(&l.lock);
	while (result == -EINPROGRESS && !l.done)
		condition_wait(&l.come, &l.lock);
	mutex_unlock(&l.lock);
	*err = result == -EINPROGRESS ? l.error : -result;
	if (*err == 0 && !l.listing)
		*err = EIO;
	condition_destroy(&l.come);
	mutex_destroy(&l.lock);
	return l.listing;
}

/* Without an exact size in the listing, the stored size is used. */
static void resolve(struct server *s, struct inode *dir, struct directory *d, struct listing *l,
                    uint32_t index, struct listing_entry *entry)
{
	struct store_probe probe;
	struct way w;
	way_to_child(s, dir, listing_name(l, entry), NULL, &w);
	int err = store_probe(s->store, w.path, entry->ino, &probe);
	way_end(s, &w);
	if (err == 0)
		directory_resolve(d, l, index, probe.size, true, probe.mtime_ns);
	directory_entry(d, l, index, entry);
}

static struct inode *child(struct server *s, struct inode *dir, const char *name, int *err)
{
	struct directory *d = inode_open_directory(s, dir);
	struct listing *l = list(d, err);
	struct inode *i = NULL;
	struct listing_entry entry;
	uint32_t index;
	if (!l)
		return NULL;
	switch (directory_child(d, l, name, &index)) {
	case CHILD_LOCAL:
		i = child_local(s, dir, name, false, NULL, err);
		break;
	case CHILD_REMOTE:
		directory_entry(d, l, index, &entry);
		if (S_ISREG(entry.mode) && !(entry.flags & LISTING_SIZE_EXACT))
			resolve(s, dir, d, l, index, &entry);
		if (S_ISREG(entry.mode) && !(entry.flags & LISTING_SIZE_EXACT))
			*err = EAGAIN; /* its inode would have a wrong size */
		else
			i = inode_listed_as(s, dir, name, &entry, false, err);
		break;
	case CHILD_NONE:
		*err = ENOENT;
	}
	listing_unref(l);
	return i;
}

struct inode *path_lookup(struct server *s, const char *path, struct inode **above, int *err)
{
	g_auto(GStrv) names = g_strsplit(path, "/", -1);
	struct inode *i = inode_get(s->inodes, FUSE_ROOT_ID);
	*above = NULL;
	*err = i ? 0 : ESTALE;
	for (char **name = names; i && *name && **name; name++) {
		inode_put(s, *above);
		*above = i;
		i = S_ISDIR(i->type) ? child(s, i, *name, err) : NULL;
		if (!i && *err == 0)
			*err = ENOENT;
	}
	return i;
}
