/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "fuse/base/area.h"
#include "fuse/inode/departure.h"
#include "fuse/inode/journal.h"
#include "fuse/inode/names.h"
#include "fuse/inode/twin.h"
#include "fuse/inode/walked.h"
#include "fuse/ops/ops.h"
#include "fuse/ops/parked.h"

#define FLAGS_KNOWN (RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)

/* One rename; `i`, and `over` if another inode has the new name, with references. */
struct renaming {
	struct inode *from, *to, *i, *over;
	const char *name, *newname;
	unsigned flags;
	uint64_t number;            /* st_ino of the local object; 0: it was remote */
	struct departure departure; /* of `over` */
};

/* Makes inodes and names local where the store needs them; checks that `over` may be replaced. */
static int rename_prepare(struct server *s, struct renaming *r)
{
	bool exchange = r->flags & RENAME_EXCHANGE;
	int err = inode_keep(s, r->i);
	if (err == 0)
		err = inode_materialise(s, r->from, r->i, r->name);
	/* the other names of a replaced file show its link count */
	if (err == 0 && r->over && (exchange || (S_ISREG(r->over->type) && r->over->nlink > 1)))
		err = inode_keep(s, r->over);
	if (err == 0 && r->over)
		err = inode_materialise(s, r->to, r->over, r->newname);
	if (err || exchange || !r->over)
		return err;
	if (S_ISDIR(r->over->type) != S_ISDIR(r->i->type))
		return S_ISDIR(r->over->type) ? EISDIR : ENOTDIR;
	if (S_ISDIR(r->over->type))
		return directory_empty(inode_open_directory(s, r->over));
	return 0;
}

static int number_look(struct server *s, const char *path, uint64_t *number)
{
	struct tree_node node;
	int err = tree_look(s->store, path, &node);
	if (err)
		return -err;
	*number = node.st.st_ino;
	tree_node_clear(&node);
	return 0;
}

static int journal(struct server *s, struct renaming *r, const char *from)
{
	int err = s->area->kept && !r->number ? number_look(s, from, &r->number) : 0;
	if (err || !s->area->kept)
		return err;
	struct journal_entry e = {
	        .kind = JOURNAL_RENAME,
	        .flags = r->flags,
	        .dir = inode_id(r->from),
	        .newdir = inode_id(r->to),
	        .node = inode_id(r->i),
	        .over = r->over ? inode_id(r->over) : 0,
	        .number = r->departure.number,
	        .last = r->departure.last,
	        .ino = r->number,
	};
	g_strlcpy(e.name, r->name, sizeof(e.name));
	g_strlcpy(e.newname, r->newname, sizeof(e.newname));
	journal_write(s->area, replay_unique(), &e);
	return 0;
}

/* Renames in the store. */
static int rename_store(struct server *s, const struct renaming *r, const char *from,
                        const char *to)
{
	int err = 0;
	if (r->departure.number)
		err = -tree_aside(s->store, to, r->departure.number);
	if (err == 0)
		err = -tree_rename(s->store, from, to, r->flags);
	if (err || !r->over || (r->flags & RENAME_EXCHANGE))
		return err;
	inode_count_links(s, r->over, -1);
	if (S_ISDIR(r->over->type))
		tree_gone_forget(s->store, r->over->ino);
	return 0;
}

/* In a move: renames in the store, then in memory. */
static int rename_both(struct server *s, struct renaming *r, const struct move *m,
                       struct inode **dropped)
{
	bool replaces = r->over && !(r->flags & RENAME_EXCHANGE);
	if (replaces && !departure_stands(s, r->over, &r->departure))
		return -EAGAIN;
	int err = journal(s, r, m->from);
	if (err == 0)
		err = rename_store(s, r, m->from, m->to);
	if (err)
		return err;
	rwlock_wrlock(&s->names);
	if (replaces)
		*dropped = departure_done_locked(s, r->over, r->to, r->newname, &r->departure);
	else if (r->over)
		names_move_locked(s, r->over, r->to, r->newname, r->from, r->name);
	names_move_locked(s, r->i, r->from, r->name, r->to, r->newname);
	rwlock_unlock(&s->names);
	return 0;
}

/* Puts the references of the old names without the lock. -EAGAIN: the replaced file was opened
 * meanwhile. */
static int rename_names(struct server *s, struct renaming *r)
{
	struct inode *dropped = NULL;
	bool exchange = r->flags & RENAME_EXCHANGE, replaces = r->over && !exchange;
	r->departure = (struct departure){0};
	int err = replaces && S_ISDIR(r->over->type) ? 0
	          : replaces ? departure_prepare(s, r->over, r->to, r->newname, true, &r->departure)
	                     : 0;
	if (err)
		return err;
	r->departure.last |= replaces && S_ISDIR(r->over->type);
	if (r->departure.last)
		inode_unhash(s->inodes, r->over);
	inode_ref(s->inodes, r->to);
	if (exchange)
		inode_ref(s->inodes, r->from);
	struct move m = {r->i, r->over, r->from, r->to, r->name, r->newname, NULL, NULL};
	move_begin(s, &m);
	err = rename_both(s, r, &m, &dropped);
	move_end(s, &m);
	if (err && r->departure.last)
		inode_rehash(s->inodes, r->over);
	departure_end(s, &r->departure);
	inode_put(s, err ? r->to : r->from);
	if (exchange)
		inode_put(s, err ? r->from : r->to);
	inode_put(s, dropped);
	return err;
}

static int rename_run(struct server *s, struct renaming *r)
{
	bool exchange = r->flags & RENAME_EXCHANGE;
	int err = rename_prepare(s, r);
	if (err == 0 && !exchange)
		err = name_hide(s, r->from, r->name);
	do
		err = err > 0 ? err : rename_names(s, r);
	while (err == -EAGAIN);
	if (err)
		return err;
	struct directory *from = inode_open_directory(s, r->from);
	struct directory *to = inode_open_directory(s, r->to);
	if (exchange)
		directory_local_add(from, r->name, r->over->type);
	else if (r->flags & RENAME_WHITEOUT)
		directory_local_add(from, r->name, S_IFCHR);
	else
		directory_local_remove(from, r->name);
	if (!exchange)
		twin_unname(s, r->to, r->newname);
	/* a name of another type is another name */
	directory_local_add(to, r->newname, r->i->type);
	walked_drop(s, r->from);
	walked_drop(s, r->to);
	inode_changed(r->from);
	inode_changed(r->to);
	inode_changed(r->i);
	if (r->over)
		inode_changed(r->over);
	if (r->over && !exchange && S_ISDIR(r->over->type))
		directory_unlist(inode_open_directory(s, r->over));
	return 0;
}

/* `r` with both directories; looks the rest up. */
static int rename_begin(struct server *s, struct renaming *r)
{
	int err = 0, missing;
	if (s->read_only)
		return EROFS;
	if (r->flags & ~FLAGS_KNOWN)
		return EINVAL;
	if ((r->flags & RENAME_EXCHANGE) && (r->flags & RENAME_WHITEOUT))
		return EINVAL;
	if (strlen(r->newname) > 255)
		return ENAMETOOLONG;
	err = inode_keep(s, r->from);
	if (err == 0)
		err = inode_keep(s, r->to);
	if (err == 0)
		r->i = child_known(s, r->from, r->name, &r->number, &err);
	if (err)
		return err;
	r->over = child_known(s, r->to, r->newname, NULL, &missing);
	if (!r->over && missing != ENOENT)
		return missing;
	if (r->over && (r->flags & RENAME_NOREPLACE))
		return EEXIST;
	return !r->over && (r->flags & RENAME_EXCHANGE) ? ENOENT : 0;
}

static void rename_end(struct server *s, struct renaming *r)
{
	inode_put(s, r->over);
	inode_put(s, r->i);
	inode_put(s, r->to);
	inode_put(s, r->from);
}

/* For a rename over a directory: its listing tells whether it is empty. */
struct rename_parked {
	uint64_t newparent;
	unsigned flags;
	char newname[256];
};

static void rename_listed(struct parked *p, struct listing *l)
{
	struct server *s = p->server;
	struct rename_parked *w = p->data;
	struct renaming r = {
	        .from = inode_ref(s->inodes, p->inode),
	        .to = inode_get(s->inodes, w->newparent),
	        .name = p->name,
	        .newname = w->newname,
	        .flags = w->flags,
	};
	int err = r.to ? rename_begin(s, &r) : ESTALE;
	if (err == 0)
		err = rename_run(s, &r);
	replay_fail(p->req, err);
	rename_end(s, &r);
	parked_free(p);
}

static void rename_park(fuse_req_t req, const struct renaming *r, fuse_ino_t newparent)
{
	struct server *s = fuse_req_userdata(req);
	struct parked *p = parked_new(s, req, inode_ref(s->inodes, r->from), r->name);
	struct rename_parked *w = g_new0(struct rename_parked, 1);
	w->newparent = newparent;
	w->flags = r->flags;
	g_strlcpy(w->newname, r->newname, sizeof(w->newname));
	p->data = w;
	p->resume = rename_listed;
	parked_list(p, inode_open_directory(s, r->over));
}

/* A worker before this one renamed, and died before the answer. */
static bool rename_was_done(struct server *s, const struct renaming *r)
{
	const struct journal_entry *e = journal_find(s->area, replay_unique());
	if (!e || !e->done)
		return false;
	const uint64_t nodes[] = {e->dir, e->newdir, e->node, e->over};
	for (unsigned n = 0; n < G_N_ELEMENTS(nodes); n++) {
		struct inode *i = nodes[n] ? inode_get(s->inodes, nodes[n]) : NULL;
		if (i && S_ISDIR(i->type))
			walked_drop(s, i);
		if (i)
			inode_changed(i);
		inode_put(s, i);
	}
	return true;
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
               const char *newname, unsigned int flags)
{
	struct server *s = fuse_req_userdata(req);
	struct renaming r = {
	        .from = inode_get(s->inodes, parent),
	        .to = inode_get(s->inodes, newparent),
	        .name = name,
	        .newname = newname,
	        .flags = flags,
	};
	if (rename_was_done(s, &r)) {
		replay_fail(req, 0);
		rename_end(s, &r);
		return;
	}
	int err = r.from && r.to ? rename_begin(s, &r) : ESTALE;
	if (err == 0 && r.over && S_ISDIR(r.over->type) && !(flags & RENAME_EXCHANGE)) {
		rename_park(req, &r, newparent);
	} else {
		if (err == 0)
			err = rename_run(s, &r);
		replay_fail(req, err);
	}
	rename_end(s, &r);
}
