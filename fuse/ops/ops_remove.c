/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Removal of names: unlink, rmdir. The name is marked as gone first (fetch/store/tree/tree.h). */
#include <errno.h>
#include <sys/stat.h>
#include "fuse/base/area.h"
#include "fuse/inode/departure.h"
#include "fuse/inode/journal.h"
#include "fuse/inode/names.h"
#include "fuse/inode/walked.h"
#include "fuse/ops/ops.h"
#include "fuse/ops/parked.h"

struct inode *child_known(struct server *s, struct inode *dir, const char *name, uint64_t *number,
                          int *err)
{
	struct directory *d = inode_open_directory(s, dir);
	struct listing *l = directory_listing(d, NULL);
	uint32_t index;
	struct inode *i = NULL;
	enum child kind = l ? directory_child(d, l, name, &index) : CHILD_NONE;
	*err = l ? ENOENT : EIO; /* the kernel looked it up, so it was listed */
	if (kind == CHILD_LOCAL) {
		i = child_local(s, dir, name, false, number, err);
	} else if (kind == CHILD_REMOTE) {
		struct listing_entry e;
		directory_entry(d, l, index, &e);
		i = inode_listed_as(s, dir, name, &e, false, err);
	}
	if (l)
		listing_unref(l);
	return i;
}

int name_hide(struct server *s, struct inode *dir, const char *name)
{
	struct directory *d = inode_open_directory(s, dir);
	if (!directory_is_listed(d, name))
		return 0;
	int err = -tree_gone_add(s->store, dir->ino, name);
	if (err)
		return err;
	directory_gone_add(d, name);
	walked_drop(s, dir);
	/* the name goes from the directory, though not from the local one */
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};
	struct way w;
	way_to(s, dir, &w);
	tree_utimens(s->store, w.path, times);
	way_end(s, &w);
	return 0;
}

static void journal(struct server *s, struct inode *dir, const struct inode *i, const char *name,
                    const struct departure *d)
{
	if (!s->area->kept)
		return;
	struct journal_entry e = {
	        .kind = JOURNAL_REMOVE,
	        .dir = inode_id(dir),
	        .node = inode_id(i),
	        .number = d->number,
	        .last = d->last,
	        .local = directory_has_local(inode_open_directory(s, dir), name),
	};
	g_strlcpy(e.name, name, sizeof(e.name));
	journal_write(s->area, replay_unique(), &e);
}

/* The name went in an earlier try, of a worker that died: in the store, at least. */
static bool is_removed(struct server *s, fuse_ino_t parent, const char *name, int err)
{
	const struct journal_entry *e = journal_find(s->area, replay_unique());
	if (!e || (!e->done && err != ENOENT))
		return false;
	struct inode *dir = inode_get(s->inodes, parent), *dropped = NULL;
	struct inode *i = inode_get(s->inodes, e->node);
	if (dir && i && !e->done && names_has(s, i, dir, name)) { /* it was not local */
		struct departure d = {.last = e->last, .number = e->number};
		struct move m = {.i = i, .dir = dir, .name = name};
		if (d.last)
			inode_unhash(s->inodes, i);
		move_begin(s, &m);
		rwlock_wrlock(&s->names);
		dropped = departure_done_locked(s, i, dir, name, &d);
		rwlock_unlock(&s->names);
		move_end(s, &m);
		departure_end(s, &d);
	}
	if (dir) {
		walked_drop(s, dir);
		inode_changed(dir);
	}
	if (i)
		inode_changed(i);
	inode_put(s, dropped);
	inode_put(s, i);
	inode_put(s, dir);
	return true;
}

/* 0, a positive errno, or -EAGAIN: the file was opened meanwhile. */
static int unlink_try(struct server *s, struct inode *dir, struct inode *i, const char *name)
{
	struct departure d;
	int err = departure_prepare(s, i, dir, name, false, &d);
	if (err)
		return err;
	journal(s, dir, i, name, &d);
	err = name_hide(s, dir, name); /* a file that lives on has its object by now */
	if (err) {
		departure_end(s, &d);
		return err;
	}
	bool local = directory_has_local(inode_open_directory(s, dir), name);
	if (d.last)
		inode_unhash(s->inodes, i);
	struct move m = {.i = i, .dir = dir, .name = name};
	move_begin(s, &m);
	struct inode *dropped = NULL;
	if (departure_stands(s, i, &d)) {
		err = -tree_unlink(s->store, m.from, d.number);
		if (!local)
			err = 0; /* not local: it went with its name */
	} else {
		err = -EAGAIN;
	}
	if (err == 0) {
		inode_count_links(s, i, -1);
		rwlock_wrlock(&s->names);
		dropped = departure_done_locked(s, i, dir, name, &d);
		rwlock_unlock(&s->names);
	}
	move_end(s, &m);
	if (err && d.last)
		inode_rehash(s->inodes, i);
	departure_end(s, &d);
	inode_put(s, dropped);
	return err;
}

static int unlink_name(struct server *s, struct inode *dir, struct inode *i, const char *name)
{
	int err = S_ISREG(i->type) && i->nlink > 1 ? inode_keep(s, i)
	                                           : 0; /* its other names show the link count */
	if (err == 0)
		err = inode_materialise(s, dir, i, name);
	if (err)
		return err;
	while ((err = unlink_try(s, dir, i, name)) == -EAGAIN)
		;
	if (err == 0) {
		directory_local_remove(inode_open_directory(s, dir), name);
		walked_drop(s, dir);
		inode_changed(dir);
		inode_changed(i);
	}
	return err;
}

/* The store must not have a local object there that the directory does not show: checked before its
 * name is marked as gone. */
static int clears(struct server *s, struct inode *dir, const char *name)
{
	struct way w;
	way_to_child(s, dir, name, NULL, &w);
	int err = -tree_clears(s->store, w.path);
	if (err)
		g_message("/%s cannot be removed: %s", w.path,
		          err == ENOTEMPTY ? "the directory still has local files in the store"
		                           : g_strerror(err));
	way_end(s, &w);
	return err;
}

/* Its names were removed before, except for leftovers in the store. */
static int rmdir_name(struct server *s, struct inode *dir, struct inode *i, const char *name)
{
	int err = directory_empty(inode_open_directory(s, i));
	bool local = directory_has_local(inode_open_directory(s, dir), name);
	if (err == 0)
		err = clears(s, dir, name);
	struct departure d = {.last = true};
	if (err == 0)
		journal(s, dir, i, name, &d);
	if (err == 0)
		err = name_hide(s, dir, name);
	if (err)
		return err;
	inode_unhash(s->inodes, i);
	struct move m = {.i = i, .dir = dir, .name = name};
	move_begin(s, &m);
	err = -tree_rmdir(s->store, m.from, i->ino);
	if (!local)
		err = 0; /* as in unlink_try() */
	if (err == 0) {
		rwlock_wrlock(&s->names);
		departure_done_locked(s, i, dir, name, &d);
		rwlock_unlock(&s->names);
	}
	move_end(s, &m);
	departure_end(s, &d);
	if (err) {
		inode_rehash(s->inodes, i);
	} else {
		directory_unlist(inode_open_directory(s, i));
		directory_local_remove(inode_open_directory(s, dir), name);
		walked_drop(s, dir);
		inode_changed(dir);
	}
	return err;
}

/* Gets a reference on both, and makes the directory local; a positive errno. */
static int remove_begin(struct server *s, fuse_ino_t parent, const char *name, struct inode **dir,
                        struct inode **i)
{
	*dir = inode_get(s->inodes, parent);
	*i = NULL;
	int err = !*dir ? ESTALE : s->read_only ? EROFS : inode_keep(s, *dir);
	if (err == 0)
		*i = child_known(s, *dir, name, NULL, &err);
	return err;
}

static int unlink_once(struct server *s, fuse_ino_t parent, const char *name)
{
	struct inode *dir, *i;
	int err = remove_begin(s, parent, name, &dir, &i);
	if (err == 0)
		err = S_ISDIR(i->type) ? EISDIR : unlink_name(s, dir, i, name);
	else if (is_removed(s, parent, name, err))
		err = 0;
	inode_put(s, i);
	inode_put(s, dir);
	return err;
}

/* There is no space for the mark of the removed name: the reserve is spent on it. */
static bool reserve_spent(struct server *s, int err)
{
	return (err == ENOSPC || err == EDQUOT) && store_reserve_spend(s->store);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct server *s = fuse_req_userdata(req);
	int err = unlink_once(s, parent, name);
	if (reserve_spent(s, err))
		err = unlink_once(s, parent, name);
	if (err == 0)
		store_reserve(s->store);
	replay_fail(req, err);
}

static int rmdir_once(struct parked *p)
{
	struct server *s = p->server;
	int err;
	struct inode *i = child_known(s, p->inode, p->name, NULL, &err);
	if (i)
		err = S_ISDIR(i->type) ? rmdir_name(s, p->inode, i, p->name) : ENOTDIR;
	if (i && reserve_spent(s, err))
		err = rmdir_name(s, p->inode, i, p->name);
	inode_put(s, i);
	return err;
}

/* Its listing tells whether it is empty. */
static void rmdir_listed(struct parked *p, struct listing *l)
{
	replay_fail(p->req, rmdir_once(p));
	parked_free(p);
}

static void rmdir_refused(struct parked *p, struct listing *none)
{
	int err = rmdir_once(p);
	replay_fail(p->req, err == EIO ? (int)p->offset : err);
	parked_free(p);
}

/* A directory that the source refuses to list goes with its invisible contents. Not here: this may
 * be the thread that receives everything from the network. */
static void rmdir_unlisted(struct parked *p, int error)
{
	struct server *s = p->server;
	if (error == EINTR || replay_waits_for(error)) { /* the source was not asked */
		replay_fail(p->req, error);
		return;
	}
	struct parked *q = parked_new(s, p->req, inode_ref(s->inodes, p->inode), p->name);
	q->resume = rmdir_refused;
	q->offset = (uint64_t)error;
	parked_to_disk(q);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *dir, *i;
	int err = remove_begin(s, parent, name, &dir, &i);
	if (err == 0 && !S_ISDIR(i->type))
		err = ENOTDIR;
	if (err == 0) {
		struct parked *p = parked_new(s, req, inode_ref(s->inodes, dir), name);
		p->resume = rmdir_listed;
		p->fail = rmdir_unlisted;
		parked_list(p, inode_open_directory(s, i));
	} else {
		replay_fail(req, is_removed(s, parent, name, err) ? 0 : err);
	}
	inode_put(s, i);
	inode_put(s, dir);
}
