/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/departure.h"
#include <errno.h>
#include <sys/stat.h>
#include "fuse/inode/local.h"
#include "fuse/inode/names.h"
#include "fuse/inode/server.h"
#include "fuse/inode/twin.h"
#include "fuse/inode/ways.h"

/* FUSE does not report open fifos, or descriptors of symlinks: these are taken as in use, but a
 * remote symlink is not worth a local object. */
static bool in_use(const struct inode *i)
{
	if (S_ISREG(i->type))
		return i->handles > 0 || i->opening > 0 || (i->extra && i->extra->is_twin);
	return !S_ISDIR(i->type) && (i->local || !S_ISLNK(i->type));
}

/* Has it names only in the store? A file with several remote names is found by its index. */
static bool has_unknown(const struct inode *i, const struct departure *d)
{
	return !d->last && !i->indexed && !names_has_aliases(i);
}

int departure_prepare(struct server *s, struct inode *i, struct inode *dir, const char *name,
                      bool replaced, struct departure *out)
{
	struct departure d = {0};
	bool twins = S_ISREG(i->type) && twin_is_wanted(s, i, dir, name);
	int err = S_ISREG(i->type) && !i->local && i->nlink > 1 ? inode_keep(s, i) : 0;
	if (err)
		return err;
	rwlock_rdlock(&s->names);
	bool aliases = names_has_aliases(i);
	d.last = i->local ? i->nlink <= 1 : !aliases;
	bool unknown = has_unknown(i, &d);
	rwlock_unlock(&s->names);
	if (unknown ||
	    (d.last && (twins || in_use(i) || (replaced && i->local && S_ISREG(i->type))))) {
		d.number = tree_number(s->store);
		err = inode_keep(s, i);
		if (err == 0 && twins)
			twin_take(s, i, dir, name, 0);
	}
	if (err == 0)
		*out = d;
	return err;
}

bool departure_stands(struct server *s, const struct inode *i, const struct departure *d)
{
	rwlock_rdlock(&s->names);
	bool stands = d->number || !(d->last ? in_use(i) : has_unknown(i, d));
	rwlock_unlock(&s->names);
	return stands;
}

struct inode *departure_done_locked(struct server *s, struct inode *i, struct inode *dir,
                                    const char *name, struct departure *d)
{
	struct inode *dropped = names_remove_locked(s, i, dir, name);
	if (!i->nameless || (i->indexed && !d->last))
		return dropped;
	d->gone = d->last && !d->number ? i->ino : 0;
	/* it may have an older number, of an earlier time without a name: that one goes */
	struct inode_extra *x = inode_extra_locked(s, i);
	uint64_t before = x->unlinked;
	x->unlinked = d->number;
	d->number = before;
	if (d->last) {
		i->indexed = false;
		i->nlink = 0;
	}
	return dropped;
}

void departure_end(struct server *s, struct departure *d)
{
	if (d->number)
		tree_orphan_drop(s->store, d->number);
	if (d->gone)
		s->inode_gone(s, d->gone);
}

/* A move may be removing its last name: the way waits for it. */
bool inode_is_gone(struct server *s, const struct inode *i)
{
	struct way w;
	way_to(s, i, &w);
	rwlock_rdlock(&s->names);
	bool gone = i->nameless && !i->indexed && !(i->extra && i->extra->unlinked);
	rwlock_unlock(&s->names);
	way_end(s, &w);
	return gone;
}
